package gateway

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/farlabs/inference/gateway/openai"
)

var (
	errTooLarge  = errors.New("the body is too large")
	errSlowBody  = errors.New("the body did not arrive in time")
	errMediaType = errors.New("unsupported body")
)

// readBody returns the body of a request, inflated. Only JSON is taken: a page
// of another origin cannot send that without asking first.
func (s *Server) readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" && !strings.HasSuffix(kind, "+json") {
		return nil, fmt.Errorf("%w: send Content-Type: application/json", errMediaType)
	}
	raw := http.MaxBytesReader(w, r.Body, s.cfg.MaxBody)
	body := io.Reader(raw)
	switch enc := strings.ToLower(strings.TrimSpace(r.Header.Get("Content-Encoding"))); enc {
	case "", "identity":
	case "gzip", "x-gzip":
		z, err := gzip.NewReader(raw)
		if err != nil {
			return nil, bodyError(r, err)
		}
		body = z
	default:
		return nil, fmt.Errorf("%w: Content-Encoding has to be gzip or absent", errMediaType)
	}
	b, err := io.ReadAll(io.LimitReader(body, s.cfg.MaxBody+1))
	if err != nil {
		return nil, bodyError(r, err)
	}
	if int64(len(b)) > s.cfg.MaxBody {
		return nil, fmt.Errorf("%w: more than %d bytes", errTooLarge, s.cfg.MaxBody)
	}
	if _, err := io.Copy(io.Discard, raw); err != nil { // behind the gzip
		return nil, bodyError(r, err)
	}
	// The deadline was for the body only: an answer may take longer, and the
	// server reads on meanwhile, to notice when the client goes.
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	return b, nil
}

func bodyError(r *http.Request, err error) error {
	var big *http.MaxBytesError
	switch {
	case errors.As(err, &big):
		return fmt.Errorf("%w: more than %d bytes", errTooLarge, big.Limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errSlowBody
	case r.Context().Err() != nil:
		return causeOf(r.Context())
	}
	return &openai.Error{Message: "the body cannot be read: " + err.Error()}
}
