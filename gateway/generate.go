package gateway

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/farlabs/inference/gateway/openai"
	"github.com/farlabs/inference/pipeline"
)

// routeHeader opts in to the route in answers, value "1".
const routeHeader = "x-farlabs-route"

var (
	errAllBusy      = errors.New("too many requests run at once")
	errUnknownModel = errors.New("unknown model")
	errClientGone   = errors.New("the client has gone")
)

func (s *Server) unknownModel(name string) error {
	return fmt.Errorf("%w %.64q; GET /v1/models lists those that can be asked", errUnknownModel, name)
}

func (s *Server) chat(w http.ResponseWriter, r *http.Request) { s.generate(w, r, openai.ParseChat) }

func (s *Server) completions(w http.ResponseWriter, r *http.Request) {
	s.generate(w, r, openai.ParseCompletion)
}

// generate answers a request for text.
func (s *Server) generate(w http.ResponseWriter, r *http.Request, parse func([]byte) (*openai.Call, error)) {
	if err := s.take(w); err != nil {
		refuse(w, err)
		return
	}
	defer func() { <-s.slots }()
	body, err := s.readBody(w, r)
	if err != nil {
		refuse(w, err)
		return
	}
	call, err := parse(body)
	if err != nil {
		refuse(w, err)
		return
	}
	m, err := s.prepare(call)
	if err != nil {
		refuse(w, err)
		return
	}
	note(w, "model", m.Model())
	head := openai.Header{
		ID: call.NewID(strings.TrimPrefix(w.Header().Get("x-request-id"), "req_")), Created: time.Now().Unix(), Model: string(m.Model()),
		Fingerprint: s.fingerprint(m), Route: r.Header.Get(routeHeader) == "1",
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	g := s.start(ctx, m, call)
	// The sessions have ended when the handler returns.
	defer g.wait()
	defer cancel(errClientGone)
	if call.Stream {
		s.stream(w, g, openai.NewStream(call, head, m.Tokenizer()))
	} else {
		s.whole(w, g, openai.NewResponse(call, head, m.Tokenizer()))
	}
}

// take takes a slot of those that bound the requests at once.
func (s *Server) take(w http.ResponseWriter) error {
	select {
	case s.slots <- struct{}{}:
	default:
		s.limits(w)
		return fmt.Errorf("%w: at most %d", errAllBusy, cap(s.slots))
	}
	s.limits(w)
	return nil
}

// limits tells in headers what may run at once. What is counted are requests;
// their tokens are as many as the largest context holds.
func (s *Server) limits(w http.ResponseWriter) {
	h, all, free := w.Header(), cap(s.slots), cap(s.slots)-len(s.slots)
	for _, kind := range []struct {
		name string
		unit int
	}{{"requests", 1}, {"tokens", s.context}} {
		h.Set("x-ratelimit-limit-"+kind.name, strconv.Itoa(all*kind.unit))
		h.Set("x-ratelimit-remaining-"+kind.name, strconv.Itoa(free*kind.unit))
		h.Set("x-ratelimit-reset-"+kind.name, "1s")
	}
}

// prepare finds the model of a call and completes its requests.
func (s *Server) prepare(call *openai.Call) (Model, error) {
	m, ok := s.find(call.Model)
	if !ok {
		return nil, s.unknownModel(call.Model)
	}
	if n := len(call.Prompts); n > s.cfg.MaxPrompts {
		return nil, &openai.Error{Param: "prompt", Message: fmt.Sprintf("prompt: %d prompts, want at most %d", n, s.cfg.MaxPrompts)}
	}
	var options pipeline.SessionOptions
	if call.MaxPrice != nil {
		if s.cfg.Ceiling == nil {
			return nil, &openai.Error{Param: "max_price", Message: "max_price: this server knows no prices"}
		}
		w, err := s.ceiling(*call.MaxPrice)
		if err != nil {
			return nil, &openai.Error{Param: "max_price", Message: "max_price: " + err.Error()}
		}
		options.Ceiling = w
	}
	size := m.Tokenizer().Size()
	for i := range call.Prompts {
		r := &call.Prompts[i]
		r.Session = options
		for id := range r.Sampling.LogitBias {
			if int(id) >= size {
				return nil, &openai.Error{Param: "logit_bias", Message: fmt.Sprintf("logit_bias: token %d: the vocabulary has %d", id, size)}
			}
		}
		if call.NeedsIDs() {
			ids, err := m.Encode(*r)
			if err != nil {
				return nil, err
			}
			call.SetIDs(i, ids)
		}
	}
	return m, nil
}

// fingerprint is equal where answers to the same request with the same seed
// are: same model, same program.
func (s *Server) fingerprint(m Model) string {
	d := m.Digest()
	sum := sha256.Sum256(append(d[:], s.cfg.Version...))
	return "fp_" + hex.EncodeToString(sum[:6])
}

// generation runs the prompts of a call.
type generation struct {
	deltas chan promptDelta // closed when all have ended, or one has failed
	err    error            // after deltas was closed
	done   chan struct{}
}

type promptDelta struct {
	prompt int
	pipeline.Delta
}

// start runs the prompts of a call, a few at once. The first failure, or the
// end of ctx, ends all. deltas holds few: a reader that does not keep up holds
// the sessions back.
func (s *Server) start(ctx context.Context, m Model, call *openai.Call) *generation {
	g := &generation{deltas: make(chan promptDelta, 4), done: make(chan struct{})}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(s.cfg.Parallel)
	go func() {
		defer close(g.done)
		for i := range call.Prompts {
			group.Go(func() error { return s.run(ctx, m, call, i, g.deltas) })
		}
		g.err = group.Wait()
		close(g.deltas)
	}()
	return g
}

func (g *generation) wait() { <-g.done }

// run runs one prompt. A panic of the model is an error of the request: it
// must not take the other requests down, nor print what it is about.
func (s *Server) run(ctx context.Context, m Model, call *openai.Call, prompt int, out chan<- promptDelta) (err error) {
	defer func() {
		if recover() != nil {
			s.cfg.Log.Error("panic", "model", m.Model(), "stack", string(debug.Stack()))
			err = errors.New("internal error")
		}
	}()
	if ctx.Err() != nil {
		return causeOf(ctx)
	}
	ended := false
	for d, err := range m.Generate(ctx, call.Prompts[prompt]) {
		if err != nil {
			if ctx.Err() != nil {
				return causeOf(ctx)
			}
			return err
		}
		if d.Choice < 0 || d.Choice >= call.N {
			return fmt.Errorf("choice %d of %d", d.Choice, call.N)
		}
		ended = d.Usage != nil
		select {
		case out <- promptDelta{prompt, d}:
		case <-ctx.Done():
			return causeOf(ctx)
		}
	}
	if !ended {
		return errors.New("the answer broke off")
	}
	return nil
}

// causeOf returns why a request's context ended. The HTTP server gives no
// cause when the client goes away.
func causeOf(ctx context.Context) error {
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return errClientGone
}

// whole sends an answer in one piece.
func (s *Server) whole(w http.ResponseWriter, g *generation, a *openai.Response) {
	for d := range g.deltas {
		a.Delta(d.prompt, d.Delta)
	}
	if g.err != nil {
		refuse(w, g.err)
		return
	}
	prompt, completion := a.Usage()
	note(w, "prompt_tokens", prompt, "completion_tokens", completion)
	b := a.JSON()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	_, _ = w.Write(b)
}
