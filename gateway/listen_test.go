package gateway

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"testing"

	"github.com/farlabs/inference"
)

// Which address a request came in at no page can choose, so that an address of
// the machine is as safe as localhost; a name that leads there is not.
func TestTheAddressARequestCameInAtIsAllowed(t *testing.T) {
	s, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		local, host, origin string
		ok                  bool
	}{
		{"192.168.1.4:8099", "192.168.1.4:8099", "", true},
		{"[::ffff:192.168.1.4]:8099", "192.168.1.4", "", true},
		{"[fd00::4]:8099", "[fd00::4]:8099", "", true},
		{"[fe80::1%eth0]:8099", "[fe80::1]:8099", "", true},
		{"192.168.1.4:8099", "192.168.1.4:8099", "http://192.168.1.4:3000", true},
		{"192.168.1.4:8099", "192.168.1.4:8099", "http://192.168.1.5:8099", false},
		{"192.168.1.4:8099", "192.168.1.5:8099", "", false},
		{"192.168.1.4:8099", "evil.example:8099", "", false},
		{"192.168.1.4:8099", "192.168.1.4.evil.example", "", false},
		{"192.168.1.4:8099", "0.0.0.0:8099", "", false},
	} {
		r := httptest.NewRequest("GET", "/health", nil)
		r.Host = c.host
		if c.origin != "" {
			r.Header.Set("Origin", c.origin)
		}
		at := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(c.local))
		r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, at))
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		if (w.Code == 200) != c.ok || !c.ok && w.Code != 403 {
			t.Errorf("%+v: %d", c, w.Code)
		}
	}
}

func TestAServerForEverybodyGoesByTheMachinesName(t *testing.T) {
	name, err := os.Hostname()
	if err != nil {
		t.Skip(err)
	}
	for _, addr := range []string{"0.0.0.0:80", ":80", "[::]:80", "192.0.2.7:80"} {
		if got := ListenNames(addr); !slices.Contains(got, name) {
			t.Errorf("%s: %q lacks %q", addr, got, name)
		}
	}
	if got := ListenNames("gate.example:80"); !slices.Contains(got, "gate.example") {
		t.Errorf("the name that is listened on: %q", got)
	}
	for _, addr := range []string{"127.0.0.1:80", "localhost:80", "[::1]:80", "no port"} {
		if got := ListenNames(addr); got != nil {
			t.Errorf("%s: %q", addr, got)
		}
	}
}

// The URL of a server that listens everywhere is one that it answers at.
func TestTheURLOfAListenerWorks(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:0", "127.0.0.1:0"} {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		s, err := New(Config{APIKeys: []string{"k"}, Hosts: ListenNames(addr)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Serve(ctx, l) }()
		if r := do(t, "GET", URL(l.Addr())+"/health", ""); r.status != 200 {
			t.Errorf("%s: %s: %d %s", addr, URL(l.Addr()), r.status, r.body)
		}
		http.DefaultClient.CloseIdleConnections()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestTheAddressForOthersComesFirst(t *testing.T) {
	for want, addrs := range map[string][]string{
		"192.168.1.4": {"127.0.0.1/8", "::1/128", "fe80::1/64", "fd00::4/64", "192.168.1.4/24", "10.0.0.1/8"},
		"fd00::4":     {"127.0.0.1/8", "fe80::1/64", "fd00::4/64"},
		"127.0.0.1":   {"127.0.0.1/8", "169.254.3.4/16"},
	} {
		var list []net.Addr
		for _, a := range addrs {
			ip, n, err := net.ParseCIDR(a)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, &net.IPNet{IP: ip, Mask: n.Mask})
		}
		if got := outward(list).String(); got != want {
			t.Errorf("%q: %s, want %s", addrs, got, want)
		}
	}
	if got := outward(nil).String(); got != "127.0.0.1" {
		t.Errorf("without an address: %s", got)
	}
}

func TestHostsAndOriginsThatCannotMatchAreRefused(t *testing.T) {
	for host, ok := range map[string]bool{
		"chat.example": true, "192.168.1.4": true, "[fd00::4]": true, "fd00::4": true, "*": true, "my_box": true,
		"http://x": false, "x:8080": false, "x/": false, "": false, "a b": false, "*.example": false, "me@x": false, "[fd00::4]:80": false,
	} {
		if err := (&Config{Hosts: []string{host}}).Validate(); (err == nil) != ok || !ok && !errors.Is(err, inference.ErrInvalid) {
			t.Errorf("host %q: %v", host, err)
		}
	}
	for origin, ok := range map[string]bool{
		"https://chat.example": true, "http://x:3000": true, "http://[::1]:3000": true, "app://x": true,
		"chat.example": false, "https://chat.example/": false, "https://chat.example/x": false, "": false, "https://": false, "//x": false,
	} {
		if err := (&Config{Origins: []string{origin}}).Validate(); (err == nil) != ok {
			t.Errorf("origin %q: %v", origin, err)
		}
	}
}
