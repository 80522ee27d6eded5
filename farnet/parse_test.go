package farnet

import (
	"strings"
	"testing"
)

func TestAddressForms(t *testing.T) {
	for in, want := range map[string]string{
		"0.0.0.0:4744":           "/ip4/0.0.0.0/udp/4744/quic-v1 /ip4/0.0.0.0/tcp/4744",
		":4744":                  "/ip4/0.0.0.0/udp/4744/quic-v1 /ip4/0.0.0.0/tcp/4744",
		"[::1]:0":                "/ip6/::1/udp/0/quic-v1 /ip6/::1/tcp/0",
		"localhost:7":            "/ip4/127.0.0.1/udp/7/quic-v1 /ip4/127.0.0.1/tcp/7",
		"node.example:7":         "/dns/node.example/udp/7/quic-v1 /dns/node.example/tcp/7",
		"/ip4/127.0.0.1/tcp/900": "/ip4/127.0.0.1/tcp/900",
	} {
		got, err := parseAddr(in)
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		var text []string
		for _, a := range got {
			text = append(text, a.String())
		}
		if s := strings.Join(text, " "); s != want {
			t.Errorf("%s: %s, want %s", in, s, want)
		}
	}
	for _, in := range []string{"", "4744", "host:http", "1.2.3.4:70000", "1.2.3.4:", "/ip4/1.2.3.4/nothing", "/ip4/1.2.3.4/tcp/1/p2p/12D3KooWDEyBDMj6bLvxVmNCHxXoY5T5JNEfRrxeotVJ4mFwoaMo"} {
		if got, err := parseAddr(in); err == nil {
			t.Errorf("%q: taken as %v", in, got)
		}
	}
}

const nodeAddr = "/ip4/192.0.2.1/tcp/4744/p2p/12D3KooWDEyBDMj6bLvxVmNCHxXoY5T5JNEfRrxeotVJ4mFwoaMo"

func TestAddressOfANodeIsWhole(t *testing.T) {
	for _, in := range []string{nodeAddr, strings.Replace(nodeAddr, "tcp/4744", "udp/4744/quic-v1", 1), relayAddr + nodeAddr[strings.Index(nodeAddr, "/p2p/"):]} {
		if err := CheckBootstrap(in); err != nil {
			t.Error(err)
		}
	}
	for in, want := range map[string]string{
		"":                          "no peer id is named",
		"192.0.2.1:4744":            "no peer id is named",
		"/ip4/192.0.2.1/tcp/4744":   "no peer id is named",
		nodeAddr[:len(nodeAddr)-40]: `the peer id "12D3KooWDEyB" is cut short, it has 12 characters`,
		nodeAddr[:len(nodeAddr)-1]:  "cut short, it has 51",
		nodeAddr[:len(nodeAddr)-52]: "cut short, it has 0",
		strings.Replace(nodeAddr, "DEyB", "DE0B", 1): "is mistyped",
		nodeAddr + "x":      "too long",
		nodeAddr + "/tcp/1": "too long",
		strings.Replace(nodeAddr, "4744", "474444", 1):                               `invalid value "474444" for protocol tcp`,
		strings.Replace(nodeAddr, "/tcp/4744", "", 1):                                "no port is named",
		strings.Replace(nodeAddr, "/tcp/", "/udp/", 1):                               "no port is named",
		nodeAddr[strings.Index(nodeAddr, "/p2p/"):]:                                  "no port is named",
		"/ip4/192.0.2.1/tcp/4744/p2p/QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N": "the peer id",
	} {
		err := CheckBootstrap(in)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "want one like /ip4/") {
			t.Errorf("%q: %v; want %s", in, err, want)
			continue
		}
		if n := strings.Count(err.Error(), in); in != "" && n != 1 {
			t.Errorf("%q stands %d times in: %v", in, n, err)
		}
	}
}

func FuzzAddresses(f *testing.F) {
	for _, s := range []string{nodeAddr, relayAddr, "127.0.0.1:4744", "[::1]:0", "/ip4/1.2.3.4/tcp/1", "/p2p/", "/p2p/1", "::"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if info, err := parsePeerAddr(s); err == nil && info.ID == "" {
			t.Errorf("%q: no id", s)
		}
		if a, err := parseAddr(s); err == nil && len(a) == 0 {
			t.Errorf("%q: nothing", s)
		}
	})
}
