package gateway

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// guard is what every request passes: it gets an id, may not crash the
// process, must name an allowed host, come from an allowed origin and, but for
// the open pages, bring a key.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		s.running.RLock()
		defer s.running.RUnlock()
		w := &response{ResponseWriter: rw, rc: http.NewResponseController(rw), began: time.Now(), id: requestID(), timeout: s.cfg.WriteTimeout}
		w.limit(r, s.cfg.BodyTimeout)
		w.Header().Set("x-request-id", w.id)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		defer s.done(w, r)
		if !s.hostAllowed(r) {
			fail(w, http.StatusForbidden, apiError{Type: "permission", Code: "host_not_allowed",
				Message: "this Host header is not allowed: use localhost or an address of the server's machine, or start the server with --host and the name"})
			return
		}
		if !s.cors(w, r) {
			return
		}
		if len(s.keys) > 0 && !open(r.URL.Path) && !s.keyKnown(r) {
			w.Header().Set("WWW-Authenticate", "Bearer")
			fail(w, http.StatusUnauthorized, apiError{Type: "invalid_request_error", Code: "invalid_api_key",
				Message: "an API key of this server is needed: send it as Authorization: Bearer KEY or x-api-key"})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// done catches a panic and logs the request: nothing that the client wrote is
// in the line, and of the panic only the stack, since its value may quote text.
func (s *Server) done(w *response, r *http.Request) {
	if v := recover(); v != nil {
		if v == http.ErrAbortHandler {
			panic(v)
		}
		s.cfg.Log.Error("panic", "request", w.id, "route", r.Pattern, "stack", string(debug.Stack()))
		if w.status == 0 {
			fail(w, http.StatusInternalServerError, apiError{Type: "server_error", Message: "internal error, request " + w.id})
		}
	}
	level := slog.LevelInfo
	if w.status >= 500 {
		level = slog.LevelWarn
	}
	s.cfg.Log.Log(r.Context(), level, "request", append([]any{
		"request", w.id, "route", r.Pattern, "status", w.status, "dur", time.Since(w.began),
	}, w.attrs...)...)
}

// response is a ResponseWriter that remembers what the log says of it.
// Each of its writes has a deadline, so that a client that never reads is cut
// off instead of holding a session.
type response struct {
	http.ResponseWriter
	rc      *http.ResponseController
	timeout time.Duration // of a write
	id      string
	began   time.Time
	status  int // 0: nothing was sent
	attrs   []any
}

// limit sets the deadlines of a request's body, which hold also where no
// handler reads it and the server discards it, and of the server's own writes.
// A server that has no deadlines, as in tests, ignores them.
func (w *response) limit(r *http.Request, body time.Duration) {
	if r.ContentLength != 0 {
		_ = w.rc.SetReadDeadline(w.began.Add(body))
	}
	_ = w.rc.SetWriteDeadline(w.began.Add(body + w.timeout))
}

// Unwrap is for http.ResponseController.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (w *response) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
		w.Header().Set("openai-processing-ms", fmt.Sprint(time.Since(w.began).Milliseconds()))
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *response) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	_ = w.rc.SetWriteDeadline(time.Now().Add(w.timeout))
	return w.ResponseWriter.Write(b)
}

// note adds to the request's log line.
func note(w http.ResponseWriter, attrs ...any) {
	if r, ok := w.(*response); ok {
		r.attrs = append(r.attrs, attrs...)
	}
}

func requestID() string {
	var b [12]byte
	_, _ = rand.Read(b[:]) // never fails on the systems we build for
	return "req_" + hex.EncodeToString(b[:])
}

// hostAllowed checks a Host header. Together with the refusal of an empty one
// this stops DNS rebinding: a page of evil.example cannot make its own name
// disappear from the header.
func (s *Server) hostAllowed(r *http.Request) bool {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(strings.TrimSuffix(strings.ToLower(host), "."), "[]")
	return host != "" && (slices.Contains(s.cfg.Hosts, "*") || s.named(host, r))
}

// named reports whether host, lower-case, is this server: on loopback, by a
// name that it was given, or by the address at which the request came in, which
// no page can pretend.
func (s *Server) named(host string, r *http.Request) bool {
	return isLoopback(host) || isLocal(host, r) || slices.ContainsFunc(s.cfg.Hosts, func(h string) bool {
		return strings.EqualFold(strings.Trim(h, "[]"), host)
	})
}

// isLocal reports whether host is this end's address of the connection.
func isLocal(host string, r *http.Request) bool {
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	at, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	return ok && at.AddrPort().Addr().Unmap().WithZone("") == ip.Unmap().WithZone("")
}

// cors answers preflights, and refuses requests that a browser sends for a page
// of another origin. It reports whether the request goes on.
func (s *Server) cors(w http.ResponseWriter, r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	h := w.Header()
	h.Add("Vary", "Origin")
	if !s.originAllowed(origin, r) {
		fail(w, http.StatusForbidden, apiError{Type: "permission", Code: "origin_not_allowed",
			Message: "pages of this origin may not use the server"})
		return false
	}
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Expose-Headers", "x-request-id, openai-processing-ms, retry-after, "+
		"x-ratelimit-limit-requests, x-ratelimit-remaining-requests, x-ratelimit-reset-requests, "+
		"x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens")
	if r.Method != http.MethodOptions {
		return true
	}
	h.Set("Access-Control-Allow-Methods", "GET, HEAD, POST, OPTIONS")
	h.Set("Access-Control-Allow-Headers", allowedHeaders(r.Header.Get("Access-Control-Request-Headers")))
	h.Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
	return false
}

func (s *Server) originAllowed(origin string, r *http.Request) bool {
	if slices.Contains(s.cfg.Origins, origin) {
		return true
	}
	u, err := url.Parse(origin)
	// Allowed hosts only: "*" there says that a proxy checks hosts, not origins.
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" &&
		s.named(strings.ToLower(u.Hostname()), r)
}

// allowedHeaders keeps, of what a preflight asks for, what clients send.
func allowedHeaders(asked string) string {
	var kept []string
	for _, h := range strings.Split(asked, ",") {
		h = strings.ToLower(strings.TrimSpace(h))
		plain := slices.Contains([]string{"accept", "authorization", "content-type", "x-api-key", "x-request-id", "user-agent", routeHeader}, h)
		if plain || strings.HasPrefix(h, "x-stainless-") || strings.HasPrefix(h, "openai-") || strings.HasPrefix(h, "anthropic-") {
			kept = append(kept, h)
		}
	}
	return strings.Join(kept, ", ")
}

// open are the paths that need no key: what a monitor or a person without one
// may see.
func open(path string) bool {
	switch path {
	case "/", "/v1", "/v1/", "/health", "/v1/health":
		return true
	}
	return false
}

func hashKeys(keys []string) [][32]byte {
	var hashed [][32]byte
	for _, k := range keys {
		hashed = append(hashed, sha256.Sum256([]byte(k)))
	}
	return hashed
}

// keyKnown compares hashes, all of them, in constant time, so that an answer's
// delay tells nothing of a key.
func (s *Server) keyKnown(r *http.Request) bool {
	key := r.Header.Get("x-api-key")
	if scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		key = strings.TrimSpace(token)
	}
	got := sha256.Sum256([]byte(key))
	found := 0
	for _, k := range s.keys {
		found |= subtle.ConstantTimeCompare(got[:], k[:])
	}
	return found == 1
}
