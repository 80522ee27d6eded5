package farnet

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/libp2p/go-libp2p/core/peer"
)

// load reads the peers of an earlier run; a file that cannot be read is
// worth a warning, not a failure.
func (j *joining) load() []peer.AddrInfo {
	path := j.n.cfg.PeersPath
	if path == "" {
		return nil
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		j.n.log.Warn("remembered peers not read", "err", err)
		return nil
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxPeersFile))
	if err != nil {
		j.n.log.Warn("remembered peers not read", "err", err)
		return nil
	}
	infos, err := parsePeers(b)
	if err != nil {
		j.n.log.Warn("remembered peers not read", "path", path, "err", err)
		return nil
	}
	j.saved = string(b)
	return j.merge(infos)
}

// parsePeers reads a JSON list of full multiaddrs, skipping what is none.
func parsePeers(b []byte) ([]peer.AddrInfo, error) {
	var list []string
	if err := json.Unmarshal(b, &list); err != nil {
		return nil, err
	}
	var out []peer.AddrInfo
	for _, s := range list[:min(len(list), maxRemembered*addrsRemembered)] {
		if info, err := parsePeerAddr(s); err == nil && len(info.Addrs) > 0 {
			out = append(out, *info)
		}
	}
	return out, nil
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
	b, err := json.MarshalIndent(list, "", "  ")
	if err == nil && string(b) != j.saved {
		if err = writeFileAtomic(n.cfg.PeersPath, b); err == nil {
			j.saved = string(b)
		}
	}
	if err != nil {
		n.log.Warn("peers not remembered", "err", err)
	}
}
