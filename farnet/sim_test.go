package farnet

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p"
	quict "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	"github.com/marcopolo/simnet"
	"github.com/quic-go/quic-go"
	"go.uber.org/fx"
)

// sim is a wide area network of real nodes in virtual time: QUIC over links of
// 100 Mbit/s, 25 ms one way. It lives in a synctest bubble.
type sim struct {
	t     *testing.T
	net   *simnet.Simnet
	nodes []*simNode
}

type simNode struct {
	*Node
	name string
	dead atomic.Bool
	mu   sync.Mutex
	port int
	ip   net.IP
}

// inSim runs f in a bubble and closes everything after it.
func inSim(t *testing.T, f func(t *testing.T, s *sim)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &sim{t: t, net: &simnet.Simnet{
			LatencyFunc: simnet.StaticLatency(25 * time.Millisecond),
			Logger:      slog.New(slog.DiscardHandler),
		}}
		s.net.Start()
		defer s.net.Close()
		defer func() {
			for _, n := range s.nodes {
				n.Close()
			}
			time.Sleep(time.Minute) // quic-go lets its last packets and timers run out
		}()
		f(t, s)
	})
}

// simConn is a socket that swallows everything once its node is dead: a power
// cut, which leaves no last word.
type simConn struct {
	*simnet.SimConn
	node *simNode
}

func (c *simConn) WriteTo(b []byte, to net.Addr) (int, error) {
	if c.node.dead.Load() {
		return len(b), nil
	}
	return c.SimConn.WriteTo(b, to)
}

func (c *simConn) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := c.SimConn.ReadFrom(b)
		if err != nil || !c.node.dead.Load() {
			return n, from, err
		}
	}
}

type fixedSource struct{ ip net.IP }

func (f fixedSource) PreferredSourceIPForDestination(*net.UDPAddr) (net.IP, error) { return f.ip, nil }

// add starts a node, or a client, that knows the given nodes.
func (s *sim) add(name string, client bool, edit func(*Config), bootstrap ...*simNode) *simNode {
	s.t.Helper()
	n := &simNode{name: name, port: 9000, ip: net.IPv4(1, 0, byte(len(s.nodes)+1), 1)}
	link := simnet.LinkSettings{BitsPerSecond: 100e6}
	cfg := DefaultConfig()
	cfg.ClientMode = client
	if !client {
		cfg.Listen = []string{fmt.Sprintf("/ip4/%s/udp/8000/quic-v1", n.ip)}
	}
	for _, b := range bootstrap {
		cfg.Bootstrap = append(cfg.Bootstrap, b.Addrs()...)
	}
	cfg.transport = []hostOption{
		libp2p.Transport(quict.NewTransport),
		libp2p.QUICReuse(func(l fx.Lifecycle, rk quic.StatelessResetKey, tk quic.TokenGeneratorKey, o ...quicreuse.Option) (*quicreuse.ConnManager, error) {
			m, err := quicreuse.NewConnManager(rk, tk, o...)
			if err == nil {
				l.Append(fx.StopHook(m.Close))
			}
			return m, err
		},
			quicreuse.OverrideSourceIPSelector(func() (quicreuse.SourceIPSelector, error) { return fixedSource{n.ip}, nil }),
			quicreuse.OverrideListenUDP(func(_ string, a *net.UDPAddr) (net.PacketConn, error) {
				at := &net.UDPAddr{IP: n.ip, Port: a.Port}
				if at.Port == 0 {
					n.mu.Lock()
					at.Port = n.port
					n.port++
					n.mu.Unlock()
				}
				return &simConn{s.net.NewEndpoint(at, simnet.NodeBiDiLinkSettings{Downlink: link, Uplink: link}), n}, nil
			})),
		libp2p.DisableIdentifyAddressDiscovery(), libp2p.ForceReachabilityPublic(), libp2p.DisableRelay(),
	}
	if os.Getenv("FARNET_TEST_LOG") != "" {
		cfg.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("node", name)
	}
	if edit != nil {
		edit(&cfg)
	}
	var err error
	if n.Node, err = New(context.Background(), cfg); err != nil {
		s.t.Fatal(name, err)
	}
	s.nodes = append(s.nodes, n)
	return n
}

// kill cuts the node off without a word.
func (n *simNode) kill() { n.dead.Store(true) }

// within waits in virtual time and returns how much of it passed.
func (s *sim) within(most time.Duration, what string, ok func() bool) time.Duration {
	s.t.Helper()
	start := time.Now()
	for !ok() {
		if time.Since(start) > most {
			s.t.Fatalf("not within %v: %s", most, what)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return time.Since(start)
}

func (s *sim) announce(n *simNode, model string) {
	s.t.Helper()
	if err := n.Announce(context.Background(), testRecord(model)); err != nil {
		s.t.Fatal(n.name, err)
	}
}

func simSees(n *simNode, model string, want ...*simNode) bool {
	var nodes []*Node
	for _, w := range want {
		nodes = append(nodes, w.Node)
	}
	return sees(n.Node, model, nodes...)
}

// A client that knows only C, C only B, B only A, uses D, which joined through
// A, after A was killed.
func TestChainOfAcquaintancesSurvivesItsFirstLink(t *testing.T) {
	inSim(t, func(t *testing.T, s *sim) {
		a := s.add("a", false, nil)
		s.announce(a, "m")
		b := s.add("b", false, nil, a)
		s.announce(b, "m")
		c := s.add("c", false, nil, b)
		s.announce(c, "m")
		time.Sleep(10 * time.Second)
		d := s.add("d", false, nil, a)
		s.announce(d, "m")
		s.within(3*time.Second, "a newcomer through A is known to C", func() bool {
			return slices.ContainsFunc(c.Records(testDigest("m")), isOf(d))
		})
		time.Sleep(time.Second)
		a.kill()
		client := s.add("client", true, nil, c)
		if err := client.Follow(t.Context(), testDigest("m")); err != nil {
			t.Fatal(err)
		}
		took := s.within(5*time.Second, "the client sees B, C and D, and not A", func() bool { return simSees(client, "m", b, c, d) })
		t.Log("client knows the living after", took)
		if _, err := client.OpenStream(t.Context(), d.ID(), pingProtocol); err != nil {
			t.Errorf("the client cannot use D: %v", err)
		}
	})
}

// Joining must be visible within 3 s to whoever is in the network already:
// nodes and clients alike.
func TestJoinIsVisibleWithinThreeSeconds(t *testing.T) {
	inSim(t, func(t *testing.T, s *sim) {
		var nodes []*simNode
		for i := range 6 {
			var boot []*simNode
			if i > 0 {
				boot = nodes[i-1 : i] // a chain: each knows the one before it
			}
			nodes = append(nodes, s.add(fmt.Sprint("n", i), false, nil, boot...))
			s.announce(nodes[i], "m")
		}
		client := s.add("client", true, nil, nodes[0])
		if err := client.Follow(t.Context(), testDigest("m")); err != nil {
			t.Fatal(err)
		}
		s.within(5*time.Second, "the client sees the first six", func() bool { return simSees(client, "m", nodes...) })
		for i := range 3 {
			start := time.Now()
			n := s.add(fmt.Sprint("new", i), false, nil, nodes[i])
			s.announce(n, "m")
			s.within(3*time.Second-time.Since(start), "everybody sees the newcomer", func() bool {
				for _, o := range append(nodes[:len(nodes):len(nodes)], client) {
					if !slices.ContainsFunc(o.Records(testDigest("m")), isOf(n)) {
						return false
					}
				}
				return true
			})
			t.Log("visible to all after", time.Since(start))
			nodes = append(nodes, n)
		}
	})
}

// A peer whose power is cut leaves no word; it must be out of every table
// within 5 s all the same, and back when it answers again.
func TestDeadPeerIsAvoidedWithinFiveSeconds(t *testing.T) {
	inSim(t, func(t *testing.T, s *sim) {
		a := s.add("a", false, nil)
		s.announce(a, "m")
		b := s.add("b", false, nil, a)
		s.announce(b, "m")
		c := s.add("c", false, nil, a)
		s.announce(c, "m")
		client := s.add("client", true, nil, a)
		if err := client.Follow(t.Context(), testDigest("m")); err != nil {
			t.Fatal(err)
		}
		s.within(3*time.Second, "all are seen", func() bool { return simSees(client, "m", a, b, c) })
		time.Sleep(10 * time.Second)
		down := make(chan string, 8)
		stop := client.OnPeerDown(func(p peerText) { down <- string(p) })
		defer stop()
		b.kill()
		took := s.within(5*time.Second, "the dead peer is avoided", func() bool {
			return simSees(client, "m", a, c) && simSees(a, "m", c) && simSees(c, "m", a)
		})
		t.Log("avoided everywhere after", took)
		if got := <-down; got != string(b.ID()) {
			t.Errorf("down: %s, want %s", got, b.ID())
		}
		if !client.Suspected(b.ID()) {
			t.Error("the dead peer is no suspect")
		}
		b.dead.Store(false)
		took = s.within(20*time.Second, "the peer is back", func() bool { return simSees(client, "m", a, b, c) })
		t.Log("back after", took)
	})
}

// A client hears of a death that only others can have noticed.
func TestHintMakesClientLookForItself(t *testing.T) {
	inSim(t, func(t *testing.T, s *sim) {
		a := s.add("a", false, nil)
		s.announce(a, "m")
		b := s.add("b", false, nil, a)
		s.announce(b, "m")
		// Without pings of its own the client depends on what a says.
		client := s.add("client", true, func(c *Config) { c.ProbeInterval = time.Hour }, a)
		if err := client.Follow(t.Context(), testDigest("m")); err != nil {
			t.Fatal(err)
		}
		s.within(3*time.Second, "all are seen", func() bool { return simSees(client, "m", a, b) })
		client.host.Network().ClosePeer(b.self)
		client.subs.mu.Lock()
		client.subs.resting[b.self] = time.Now().Add(time.Hour)
		client.subs.mu.Unlock()
		time.Sleep(5 * time.Second)
		b.kill()
		s.within(6*time.Second, "the hint is acted on", func() bool { return simSees(client, "m", a) })
	})
}

// A client that has once been in the network comes back although whom it was
// told of is gone.
func TestRememberedPeersReplaceLostBootstrap(t *testing.T) {
	inSim(t, func(t *testing.T, s *sim) {
		file := filepath.Join(t.TempDir(), "peers.json")
		keep := func(c *Config) { c.PeersPath = file }
		a := s.add("a", false, nil)
		s.announce(a, "m")
		b := s.add("b", false, nil, a)
		s.announce(b, "m")
		first := s.add("first", true, keep, a)
		if err := first.Follow(t.Context(), testDigest("m")); err != nil {
			t.Fatal(err)
		}
		s.within(3*time.Second, "both are seen", func() bool { return simSees(first, "m", a, b) })
		first.Close()
		a.kill()
		time.Sleep(time.Minute)
		second := s.add("second", true, keep, a)
		if err := second.Follow(t.Context(), testDigest("m")); err != nil {
			t.Fatal(err)
		}
		s.within(5*time.Second, "the survivor is found", func() bool { return simSees(second, "m", b) })
	})
}

// A network that the bootstrap addresses do not name is not joined by what an
// earlier run remembers of it, by clients nor nodes. Without addresses the
// network of the last run is meant.
func TestBootstrapMeansItsNetworkAndNoOther(t *testing.T) {
	for _, client := range []bool{true, false} {
		inSim(t, func(t *testing.T, s *sim) {
			file := filepath.Join(t.TempDir(), "peers.json")
			keep := func(c *Config) { c.PeersPath = file }
			a, b := s.add("a", false, nil), s.add("b", false, nil)
			s.announce(a, "m")
			s.announce(b, "m")
			visit := func(name string, wait time.Duration, from []*simNode, want ...*simNode) *simNode {
				t.Helper()
				n := s.add(name, client, keep, from...)
				if err := n.Follow(t.Context(), testDigest("m")); err != nil {
					t.Fatal(err)
				}
				time.Sleep(wait)
				if !simSees(n, "m", want...) {
					t.Errorf("client %v, %s: sees %v", client, name, n.Records(testDigest("m")))
				}
				n.Close()
				return n
			}
			visit("at a", 5*time.Second, []*simNode{a}, a)
			visit("at b", time.Minute, []*simNode{b}, b)
			visit("anywhere", 5*time.Second, nil, b)
			b.kill()
			lost := visit("at b, which is dead", time.Minute, []*simNode{b})
			if lost.BootstrapMet(0) {
				t.Error("a bootstrap peer that is dead was met")
			}
			if client && !lost.Alone() {
				t.Error("joined another network")
			}
		})
	}
}

// A node that bootstraps from one that is not up yet joins when it is.
func TestBootstrapIsTriedAgain(t *testing.T) {
	inSim(t, func(t *testing.T, s *sim) {
		a := s.add("a", false, nil)
		a.kill()
		b := s.add("b", false, nil, a)
		s.announce(b, "m")
		<-b.Joined()
		if !b.Alone() {
			t.Fatal("joined nobody")
		}
		a.dead.Store(false)
		s.within(40*time.Second, "they meet", func() bool { return !b.Alone() && simSees(a, "m", b) })
	})
}

// The provider record in the DHT leads to a node of a model of which no
// acquaintance has heard.
func TestProviderRecordLeadsToModel(t *testing.T) {
	inSim(t, func(t *testing.T, s *sim) {
		a := s.add("a", false, nil)
		b := s.add("b", false, nil, a)
		s.announce(b, "m")
		c := s.add("c", false, nil, a)
		time.Sleep(15 * time.Second)
		found := c.findNodes(t.Context(), testDigest("m"))
		if len(found) != 1 || found[0].ID != b.self || len(found[0].Addrs) == 0 {
			t.Errorf("found %v, want the one that serves it", found)
		}
		if n := len(c.findNodes(t.Context(), testDigest("other"))); n != 0 {
			t.Errorf("%d nodes of a model that nobody serves", n)
		}
	})
}

// An unchanged record is renewed, and forgotten when nobody renews it.
func TestRecordLivesThreeIntervals(t *testing.T) {
	inSim(t, func(t *testing.T, s *sim) {
		quick := func(c *Config) { c.Heartbeat = 5 * time.Second; c.ProbeInterval = time.Hour }
		a := s.add("a", false, quick)
		b := s.add("b", false, quick, a)
		if err := a.Follow(t.Context(), testDigest("m")); err != nil {
			t.Fatal(err)
		}
		s.announce(b, "m")
		s.within(3*time.Second, "it is seen", func() bool { return simSees(a, "m", b) })
		for range 40 {
			time.Sleep(2 * time.Second)
			if !simSees(a, "m", b) {
				t.Fatal("a node that announces itself was forgotten")
			}
		}
		b.kill()
		a.health.mu.Lock()
		a.health.down = nil
		a.health.mu.Unlock()
		s.within(70*time.Second, "it is forgotten", func() bool { return !a.table.knows(b.self) })
	})
}
