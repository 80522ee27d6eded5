package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/model/tokenizer"
	"github.com/farlabs/inference/pipeline"
)

// Model answers requests for one model. *pipeline.DistributedPipeline is one.
// Its methods are called concurrently.
type Model interface {
	Model() inference.ModelID
	Digest() inference.Digest
	Context() int // positions of prompt and answer together
	Tokenizer() *tokenizer.Tokenizer
	// Encode returns the ids of a request's prompt.
	Encode(r pipeline.Request) ([]inference.TokenID, error)
	// Generate answers; the end of ctx, or of the loop over it, stops the peers.
	Generate(ctx context.Context, r pipeline.Request) iter.Seq2[pipeline.Delta, error]
}

// Network tells what is served by whom. *pipeline.Client is one.
type Network interface {
	// Network returns the view of now, with the load that nodes tell within wait.
	Network(ctx context.Context, wait time.Duration) pipeline.NetworkInfo
}

// Config says what a Server serves and to whom. Zero fields have the defaults
// that are named.
type Config struct {
	// Models that can be asked for, by id, or by id without variant: then the
	// first that fits. Ids differ.
	Models []Model
	// Network is shown at /v1/network; nil: 404 there.
	Network Network

	// Ceiling converts a request's max_price, USD per 1M tokens over all hops
	// (≥ 0), to the most that a token may cost over all hops; nil: max_price is
	// refused.
	Ceiling func(usd float64) (inference.Wei, error)
	// MaxPrice bounds what requests can raise max_price to, USD per 1M tokens;
	// 0: no bound. It does not apply to requests without max_price: that is the
	// pipeline's default.
	MaxPrice float64

	// APIKeys lists the keys of which a request has to bring one; empty: none.
	APIKeys []string
	// Hosts lists names and addresses, without port, that a Host header may
	// have besides localhost, loopback addresses and the address at which the
	// request came in; "*" allows any, which is for servers behind a proxy that
	// checks.
	Hosts []string
	// Origins lists web origins ("https://chat.example") that may use the
	// server from a browser, besides those on allowed hosts.
	Origins []string

	Log     *slog.Logger // nil: discard
	Version string       // of this program, part of system_fingerprint

	MaxBody       int64         // bytes of a request's body, also after inflating; 0: 32 MiB
	MaxConcurrent int           // requests that generate at once, then 429; 0: 64
	MaxPrompts    int           // prompts of one request; 0: 256
	Parallel      int           // prompts of one request that run at once; 0: 8
	HeaderTimeout time.Duration // to receive a request's headers; 0: 10 s
	BodyTimeout   time.Duration // to receive a request's body; 0: 30 s
	WriteTimeout  time.Duration // for a client to take one write; 0: 20 s
	KeepAlive     time.Duration // silence on a stream before an empty chunk is sent; 0: 15 s
	Grace         time.Duration // for running requests when Serve is to end; 0: 3 s
}

func (c Config) withDefaults() Config {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.MaxBody = cmp.Or(c.MaxBody, 32<<20)
	c.MaxConcurrent = cmp.Or(c.MaxConcurrent, 64)
	c.MaxPrompts = cmp.Or(c.MaxPrompts, 256)
	c.Parallel = cmp.Or(c.Parallel, 8)
	c.HeaderTimeout = cmp.Or(c.HeaderTimeout, 10*time.Second)
	c.BodyTimeout = cmp.Or(c.BodyTimeout, 30*time.Second)
	c.WriteTimeout = cmp.Or(c.WriteTimeout, 20*time.Second)
	c.KeepAlive = cmp.Or(c.KeepAlive, 15*time.Second)
	c.Grace = cmp.Or(c.Grace, 3*time.Second)
	return c
}

// Validate names every fault of c at once.
func (c *Config) Validate() error {
	var faults []error
	seen := map[inference.ModelID]bool{}
	for _, m := range c.Models {
		if seen[m.Model()] {
			faults = append(faults, fmt.Errorf("model %s is there twice: %w", m.Model(), inference.ErrInvalid))
		}
		seen[m.Model()] = true
	}
	for _, k := range c.APIKeys {
		if strings.TrimSpace(k) == "" {
			faults = append(faults, fmt.Errorf("an API key is empty: %w", inference.ErrInvalid))
		}
	}
	for _, h := range c.Hosts {
		if err := checkHost(h); err != nil {
			faults = append(faults, err)
		}
	}
	for _, o := range c.Origins {
		if err := checkOrigin(o); err != nil {
			faults = append(faults, err)
		}
	}
	for _, n := range []int64{
		c.MaxBody, int64(c.MaxConcurrent), int64(c.MaxPrompts), int64(c.Parallel), int64(c.HeaderTimeout),
		int64(c.BodyTimeout), int64(c.WriteTimeout), int64(c.KeepAlive), int64(c.Grace),
	} {
		if n < 0 {
			faults = append(faults, fmt.Errorf("a limit is negative: %w", inference.ErrInvalid))
			break
		}
	}
	if !(c.MaxPrice >= 0) {
		faults = append(faults, fmt.Errorf("max price %v: want 0 or more: %w", c.MaxPrice, inference.ErrInvalid))
	}
	return errors.Join(faults...)
}

// ErrOpenBind is wrapped by CheckListen's error.
var ErrOpenBind = errors.New("listening beyond this machine needs an API key")

// CheckListen refuses to listen on an address that other machines can reach
// while no API key is asked for. addr is "host:port", as net.Listen takes it.
func CheckListen(addr string, apiKeys []string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("listen address %q: want host:port: %w", addr, inference.ErrInvalid)
	}
	if len(apiKeys) > 0 || isLoopback(host) {
		return nil
	}
	return fmt.Errorf("%s: %w: give --api-key, or listen on 127.0.0.1", addr, ErrOpenBind)
}

// checkHost refuses what no Host header says.
func checkHost(host string) error {
	name := strings.Trim(host, "[]")
	if _, err := netip.ParseAddr(name); err == nil || host == "*" {
		return nil
	}
	if host == "" || strings.ContainsAny(name, "/:@?#*[] \t") {
		return fmt.Errorf("host %q: want a name or an address without scheme, port or path, such as chat.example: %w", host, inference.ErrInvalid)
	}
	return nil
}

// checkOrigin refuses what no Origin header says.
func checkOrigin(origin string) error {
	u, err := url.Parse(origin)
	if err != nil || u.Scheme == "" || u.Host == "" || u.Scheme+"://"+u.Host != origin {
		return fmt.Errorf("origin %q: want scheme, host and port if it has one, such as https://chat.example: %w", origin, inference.ErrInvalid)
	}
	return nil
}

// isLoopback reports whether host is localhost or a loopback address.
func isLoopback(host string) bool {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && ip.Unmap().IsLoopback()
}
