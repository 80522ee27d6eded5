package farnet

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/farlabs/inference"
)

// DefaultPort is the TCP and UDP port on which a node listens unless told
// otherwise. IANA's registry has no service on it.
const DefaultPort = 4744

// Switch is a setting that decides for itself unless it is told.
type Switch uint8

// The positions of a Switch.
const (
	Auto Switch = iota
	On
	Off
)

// Config says how a node takes part in the network. The zero value of a field
// means its default, except where the comment says otherwise.
type Config struct {
	// IdentityPath is the file of the node's Ed25519 key. It is made, readable
	// by its owner only, when it does not exist, and locked while the node
	// runs. Empty together with Key: an identity for this run only, right for
	// clients.
	IdentityPath string
	// Key is the identity itself, instead of a file.
	Key ed25519.PrivateKey
	// PeersPath is a file in which up to 64 peers are remembered from run to
	// run, so that the network is found again when the bootstrap peers are
	// gone. They are tried when Bootstrap is empty, or names the peers that it
	// named then; any other Bootstrap may mean another network. Empty: nothing
	// is remembered.
	PeersPath string

	// Listen holds addresses to listen on: multiaddrs, or host:port which means
	// that port on TCP and on QUIC. Port 0 takes any free port. Default: port
	// 4744 on every interface; nothing at all in client mode, where peers
	// answer over the connections that the client makes.
	Listen []string
	// Announce holds addresses (same forms) at which others reach this node
	// although it does not see them itself: a forwarded port, a DNS name. They
	// are advertised before the addresses found on the interfaces.
	Announce []string
	// Bootstrap holds full multiaddrs, ending in /p2p/<peer id>, of any nodes
	// of the network. They are dialled again, ever less often, for as long as
	// this node is alone. When there are any, peers of a run with others are
	// not tried.
	Bootstrap []string
	// MDNS finds peers on the local network by multicast. Auto: on, unless
	// every listen address is a loopback address, or, when nothing is
	// listened on, every bootstrap address is one.
	MDNS Switch
	// PortMap asks the local network's router to forward the port (UPnP,
	// NAT-PMP). Auto: on, unless every listen address is a loopback address.
	PortMap Switch
	// ClientMode makes a peer that uses the network without serving it: it
	// relays no gossip, stores nothing in the DHT and is in nobody's table.
	ClientMode bool
	// Agent names the program and its version to other peers, "start_node/v0.1.0".
	Agent string
	// Allow, when set, is asked before a peer may connect or be dialled: a
	// private network's list of members.
	Allow func(inference.PeerID) bool

	// Heartbeat is the least time between two announcements of an unchanged
	// record, default 30 s. The time grows by 0.24 s per node of the model, so
	// that the gossip that each node receives stays constant.
	Heartbeat time.Duration
	// ProbeInterval is the time between two rounds of pings to connected nodes
	// of the followed models, default 1 s.
	ProbeInterval time.Duration
	// ProbeTimeout is how long a ping or a probing dial may take before its
	// peer is a suspect, default 2 s.
	ProbeTimeout time.Duration
	// DialTimeout bounds one dial on behalf of OpenStream or Connect, default 5 s.
	DialTimeout time.Duration

	// Log receives what the node does, never what it carries. Default: silent.
	Log *slog.Logger

	// transport replaces the host's transports in tests.
	transport []hostOption
}

// DefaultConfig returns the configuration of a serving node with an identity
// for this run only.
func DefaultConfig() Config {
	return Config{
		Agent:         "farlabs",
		Heartbeat:     30 * time.Second,
		ProbeInterval: time.Second,
		ProbeTimeout:  2 * time.Second,
		DialTimeout:   5 * time.Second,
	}
}

// withDefaults returns c with every unset field at its default.
func (c Config) withDefaults() Config {
	d := DefaultConfig()
	if c.Agent == "" {
		c.Agent = d.Agent
	}
	if c.Heartbeat == 0 {
		c.Heartbeat = d.Heartbeat
	}
	if c.ProbeInterval == 0 {
		c.ProbeInterval = d.ProbeInterval
	}
	if c.ProbeTimeout == 0 {
		c.ProbeTimeout = d.ProbeTimeout
	}
	if c.DialTimeout == 0 {
		c.DialTimeout = d.DialTimeout
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if len(c.Listen) == 0 && !c.ClientMode {
		port := strconv.Itoa(DefaultPort)
		c.Listen = []string{"0.0.0.0:" + port, "[::]:" + port}
	}
	return c
}

// Validate reports every fault of c at once.
func (c *Config) Validate() error {
	var errs []error
	if c.IdentityPath != "" && c.Key != nil {
		errs = append(errs, errors.New("identity: give a file or a key, not both"))
	}
	if c.Key != nil && len(c.Key) != ed25519.PrivateKeySize {
		errs = append(errs, fmt.Errorf("identity key: %d bytes, want %d", len(c.Key), ed25519.PrivateKeySize))
	}
	for _, a := range c.Listen {
		if err := CheckListen(a); err != nil {
			errs = append(errs, fmt.Errorf("listen: %w", err))
		}
	}
	for _, a := range c.Announce {
		if err := CheckListen(a); err != nil {
			errs = append(errs, fmt.Errorf("announce: %w", err))
		}
	}
	for _, a := range c.Bootstrap {
		if err := CheckBootstrap(a); err != nil {
			errs = append(errs, fmt.Errorf("bootstrap: %w", err))
		}
	}
	if c.MDNS > Off || c.PortMap > Off {
		errs = append(errs, fmt.Errorf("mdns %d, port map %d: want Auto, On or Off", c.MDNS, c.PortMap))
	}
	if len(c.Agent) > 128 {
		errs = append(errs, errors.New("agent: longer than 128 bytes"))
	}
	for _, d := range []struct {
		name string
		d    time.Duration
	}{{"heartbeat", c.Heartbeat}, {"probe interval", c.ProbeInterval}, {"probe timeout", c.ProbeTimeout}, {"dial timeout", c.DialTimeout}} {
		if d.d < 0 || d.d > maxInterval {
			errs = append(errs, fmt.Errorf("%s %v: want 0 (default) to %v", d.name, d.d, maxInterval))
		}
	}
	return errors.Join(errs...)
}
