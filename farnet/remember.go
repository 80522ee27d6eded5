package farnet

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/libp2p/go-libp2p/core/peer"
)

// way is how the peers of a run are met. Peers that one way led to are not
// tried by a run that was told another: that may be another network.
type way struct {
	Bootstrap []string `json:"bootstrap"` // peer ids, ascending
	MDNS      bool     `json:"mdns"`      // also whoever answers on the local network
}

// memory is the content of PeersPath.
type memory struct {
	way
	Peers []string `json:"peers"` // full multiaddrs
}

// recall reads the peers of an earlier run, where this one may use them; a file
// that cannot be read is worth a warning, not a failure.
func (j *joining) recall() {
	n := j.n
	j.way = way{Bootstrap: []string{}, MDNS: n.mdnsWanted()}
	for _, b := range j.boot {
		j.way.Bootstrap = append(j.way.Bootstrap, b.ID.String())
	}
	slices.Sort(j.way.Bootstrap)
	if n.cfg.PeersPath == "" {
		return
	}
	b, err := readPeers(n.cfg.PeersPath)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var was way
	var infos []peer.AddrInfo
	if err == nil {
		was, infos, err = parsePeers(b)
	}
	if err != nil {
		n.log.Warn("remembered peers not read", "path", n.cfg.PeersPath, "err", err)
		return
	}
	switch {
	case len(n.cfg.Bootstrap) == 0:
		// This run goes on where that one was, perhaps further.
		j.way.Bootstrap, j.way.MDNS = was.Bootstrap, was.MDNS || j.way.MDNS
	case !slices.Equal(was.Bootstrap, j.way.Bootstrap), was.MDNS && !j.way.MDNS:
		return
	}
	j.saved = string(b)
	j.known = j.merge(infos)
}

func readPeers(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxPeersFile))
}

// parsePeers reads a memory, skipping addresses that are none.
func parsePeers(b []byte) (way, []peer.AddrInfo, error) {
	var m memory
	if err := json.Unmarshal(b, &m); err != nil {
		return way{}, nil, err
	}
	var out []peer.AddrInfo
	for _, s := range m.Peers[:min(len(m.Peers), maxRemembered*addrsRemembered)] {
		if info, err := parsePeerAddr(s); err == nil && len(info.Addrs) > 0 {
			out = append(out, *info)
		}
	}
	if m.Bootstrap == nil {
		m.Bootstrap = []string{}
	}
	return m.way, out, nil
}

// remember writes the peers worth trying in a later run: connected ones, then
// announced ones, then those of earlier runs.
func (j *joining) remember() {
	n := j.n
	if n.cfg.PeersPath == "" {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	var list []string
	seen := map[peer.ID]bool{n.self: true}
	add := func(p peer.ID, addrs []string) {
		if seen[p] || len(seen) > maxRemembered || len(addrs) == 0 {
			return
		}
		seen[p] = true
		for _, a := range addrs[:min(len(addrs), addrsRemembered)] {
			list = append(list, a+"/p2p/"+p.String())
		}
	}
	text := func(info peer.AddrInfo) (out []string) {
		for _, a := range info.Addrs {
			if s := a.String(); !strings.Contains(s, "/p2p-circuit") {
				out = append(out, s)
			}
		}
		return out
	}
	connected, _ := n.servers.list()
	for _, p := range connected {
		addrs := n.table.addrs(p)
		if len(addrs) == 0 {
			addrs = text(n.host.Peerstore().PeerInfo(p))
		}
		add(p, addrs)
	}
	for _, r := range n.table.list(nil) {
		if !n.health.suspected(r.peer) {
			add(r.peer, r.record.Addrs)
		}
	}
	for _, info := range j.known {
		add(info.ID, text(info))
	}
	if len(list) == 0 {
		return
	}
	b, err := json.MarshalIndent(memory{j.way, list}, "", "  ")
	if err == nil && string(b) != j.saved {
		if err = writeFileAtomic(n.cfg.PeersPath, b); err == nil {
			j.saved = string(b)
		}
	}
	if err != nil {
		n.log.Warn("peers not remembered", "err", err)
	}
}
