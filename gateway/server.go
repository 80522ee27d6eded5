package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/farlabs/inference"
)

// maxHeader bounds the headers of a request, bytes.
const maxHeader = 32 << 10

// errShutdown is why requests end that outlive the grace period.
var errShutdown = errors.New("the server is shutting down")

// Server answers HTTP requests. It is safe for concurrent use.
type Server struct {
	cfg     Config
	started time.Time
	slots   chan struct{} // one per request that generates
	context int           // largest of the models, positions
	keys    [][32]byte    // SHA-256 of the API keys
	handler http.Handler
	network networkCache
	running sync.RWMutex // read-locked by every request in the handler
}

// New returns a server over the models of cfg, which it does not close.
func New(cfg Config) (*Server, error) {
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	s := &Server{cfg: cfg, started: time.Now(), slots: make(chan struct{}, cfg.MaxConcurrent), keys: hashKeys(cfg.APIKeys)}
	s.network.from = cfg.Network
	for _, m := range cfg.Models {
		s.context = max(s.context, m.Context())
	}
	s.handler = s.guard(s.routes())
	return s, nil
}

// Handler returns the handler of every route, checks included. The http.Server
// that it runs in should have the limits that Serve gives its own.
func (s *Server) Handler() http.Handler { return s.handler }

// routes maps paths to handlers; a path under /v1 is served without it too.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	handle := func(method, path string, h http.HandlerFunc) {
		for _, p := range []string{path, "/v1" + path} {
			mux.HandleFunc(method+" "+p, h) // GET serves HEAD too
			mux.HandleFunc(p, wrongMethod(method))
		}
	}
	mux.HandleFunc("GET /{$}", s.index)
	mux.HandleFunc("GET /v1/{$}", s.index)
	mux.HandleFunc("GET /v1", s.index)
	handle("GET", "/health", s.health)
	handle("GET", "/models", s.listModels)
	handle("GET", "/models/{id...}", s.showModel)
	handle("GET", "/network", s.showNetwork)
	handle("POST", "/chat/completions", s.chat)
	handle("POST", "/completions", s.completions)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, http.StatusNotFound, apiError{Type: "invalid_request_error", Code: "unknown_url",
			Message: "there is nothing at this path; GET / lists what there is"})
	})
	return mux
}

// Serve answers on l until ctx ends: then it takes no more requests, gives
// running ones the grace period, cancels what is left and returns nil. It
// returns early, with the error, when l fails. It closes l.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	base, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	srv := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: s.cfg.HeaderTimeout,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    maxHeader,
		BaseContext:       func(net.Listener) context.Context { return base },
		ErrorLog:          slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug),
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(l) }()
	var err error
	select {
	case err = <-failed:
		err = fmt.Errorf("gateway: %w", err)
	case <-ctx.Done():
		grace, done := context.WithTimeout(context.Background(), s.cfg.Grace)
		if srv.Shutdown(grace) != nil {
			cancel(errShutdown)
			// Requests see the cancellation at once; a second is for their last words.
			last, done := context.WithTimeout(context.Background(), time.Second)
			_ = srv.Shutdown(last)
			done()
		}
		done()
		<-failed
	}
	cancel(errShutdown)
	_ = srv.Close()
	s.running.Lock() // waits for the requests, which see their context's end
	defer s.running.Unlock()
	return err
}

// find returns the model that a request names.
func (s *Server) find(name string) (Model, bool) {
	for _, m := range s.cfg.Models {
		if string(m.Model()) == name {
			return m, true
		}
	}
	for _, m := range s.cfg.Models {
		if id, _ := m.Model().Split(); id == name && name != "" {
			return m, true
		}
	}
	return nil, false
}

// ceiling converts max_price. Zero in SessionOptions means no ceiling, so that
// "only what is free" becomes the least amount there is.
func (s *Server) ceiling(usd float64) (inference.Wei, error) {
	if s.cfg.MaxPrice > 0 {
		usd = min(usd, s.cfg.MaxPrice)
	}
	w, err := s.cfg.Ceiling(usd)
	if err == nil && w.IsZero() {
		w = inference.WeiOf(1)
	}
	return w, err
}
