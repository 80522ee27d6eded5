package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/gateway/openai"
	"github.com/farlabs/inference/model/chat"
	"github.com/farlabs/inference/pipeline"
)

// apiError is an error in OpenAI's form; clients need all four keys.
type apiError = openai.APIError

// statusClientGone is for the log only: nobody is there to read it.
const statusClientGone = 499

// answerOf is the one table from errors to what a client is told: the status,
// the body, and when to come back (0: not said).
func answerOf(err error) (status int, body apiError, retry time.Duration) {
	var (
		bad     *openai.Error
		refused *chat.RefusedError
		busy    *pipeline.BusyError
		maxBody *http.MaxBytesError
	)
	say := func(status int, kind, code string) (int, apiError, time.Duration) {
		return status, apiError{Type: kind, Code: code, Message: err.Error()}, 0
	}
	switch {
	// The request.
	case errors.As(err, &bad):
		return http.StatusBadRequest, apiError{Type: "invalid_request_error", Code: bad.Code, Param: bad.Param, Message: bad.Message}, 0
	case errors.As(err, &maxBody), errors.Is(err, errTooLarge):
		return say(http.StatusRequestEntityTooLarge, "invalid_request_error", "request_too_large")
	case errors.Is(err, errSlowBody):
		return say(http.StatusRequestTimeout, "invalid_request_error", "request_timeout")
	case errors.Is(err, errMediaType):
		return say(http.StatusUnsupportedMediaType, "invalid_request_error", "unsupported_media_type")
	case errors.Is(err, errUnknownModel):
		return say(http.StatusNotFound, "invalid_request_error", "model_not_found")
	case errors.Is(err, errAllBusy):
		status, body, _ = say(http.StatusTooManyRequests, "rate_limit_exceeded", "rate_limit_exceeded")
		return status, body, time.Second
	case errors.As(err, &refused):
		return say(http.StatusBadRequest, "invalid_request_error", "")
	case errors.Is(err, pipeline.ErrContextLength):
		return say(http.StatusBadRequest, "invalid_request_error", "context_length_exceeded")
	case errors.Is(err, pipeline.ErrInvalidRequest), errors.Is(err, inference.ErrInvalid):
		return say(http.StatusBadRequest, "invalid_request_error", "")
	case errors.Is(err, pipeline.ErrPriceCeiling):
		return say(http.StatusPaymentRequired, "insufficient_funds", "price_ceiling")
	// The network.
	case errors.Is(err, pipeline.ErrNoRoom):
		// Of the request, or of the network as it is now; never a matter of waiting.
		return say(http.StatusServiceUnavailable, "service_unavailable_error", "kv_cache_too_small")
	case errors.As(err, &busy):
		status, body, _ = say(http.StatusServiceUnavailable, "service_unavailable_error", "server_is_overloaded")
		return status, body, max(busy.RetryAfter, time.Second)
	case errors.Is(err, pipeline.ErrBusy), errors.Is(err, pipeline.ErrNoRoute), errors.Is(err, pipeline.ErrClosed), errors.Is(err, errShutdown):
		status, body, _ = say(http.StatusServiceUnavailable, "service_unavailable_error", "server_is_overloaded")
		return status, body, 5 * time.Second
	case errors.Is(err, pipeline.ErrNoProgress), errors.Is(err, context.DeadlineExceeded):
		return say(http.StatusGatewayTimeout, "server_error", "timeout")
	case errors.Is(err, errClientGone):
		return say(statusClientGone, "invalid_request_error", "client_gone")
	}
	return say(http.StatusInternalServerError, "server_error", "")
}

// errorAttrs describes an error in the log without its text, which may quote a
// request.
func errorAttrs(err error) []any {
	var hop *pipeline.HopError
	if errors.As(err, &hop) {
		return []any{"hop", hop.Hop + 1, "peer", hop.Peer, "blocks", hop.Blocks.String(), "kind", hop.Kind.String()}
	}
	_, body, _ := answerOf(err)
	return []any{"error", body.Type, "code", body.Code}
}

// refuse sends an error from the table.
func refuse(w http.ResponseWriter, err error) {
	status, body, retry := answerOf(err)
	note(w, errorAttrs(err)...)
	if retry > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(retry.Seconds()))))
	}
	if errors.Is(err, pipeline.ErrNoRoom) {
		w.Header().Set("x-should-retry", "false") // OpenAI's clients try a 503 again by themselves
	}
	if status == statusClientGone {
		if r, ok := w.(*response); ok && r.status == 0 {
			r.status = status
		}
		return
	}
	if status == http.StatusRequestTimeout || status == http.StatusRequestEntityTooLarge {
		w.Header().Set("Connection", "close") // the rest of the body is not read
	}
	fail(w, status, body)
}

// fail sends an error.
func fail(w http.ResponseWriter, status int, e apiError) {
	writeJSON(w, status, map[string]apiError{"error": e})
}

// writeJSON sends v; its types marshal.
func writeJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("gateway: %T does not marshal: %v", v, err))
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)+1))
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n')) // a client that has gone is noticed by its request's context
}

// wrongMethod answers requests whose path exists for another method.
func wrongMethod(allowed string) http.HandlerFunc {
	allow := map[string]string{"GET": "GET, HEAD, OPTIONS", "POST": "POST, OPTIONS"}[allowed]
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", allow)
		if r.Method == http.MethodOptions {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		fail(w, http.StatusMethodNotAllowed, apiError{Type: "invalid_request_error", Code: "method_not_supported",
			Message: "this path takes " + allowed + " requests"})
	}
}
