package rating

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/farlabs/inference"
)

const (
	fileVersion = 1
	maxFile     = 4 << 20 // bytes; a full book has about half of it
)

type file struct {
	Version int                        `json:"version"`
	Peers   map[inference.PeerID]*peer `json:"peers"`
}

// readFile reads a book; a missing file is an empty one.
func readFile(path string) (map[inference.PeerID]*peer, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return map[inference.PeerID]*peer{}, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	peers, err := parse(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; remove it to start anew", path, err)
	}
	return peers, nil
}

// parse reads the bytes of a file.
func parse(b []byte) (map[inference.PeerID]*peer, error) {
	if len(b) > maxFile {
		return nil, fmt.Errorf("more than %d bytes", maxFile)
	}
	f := file{}
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, err
	}
	if f.Version != fileVersion {
		return nil, fmt.Errorf("version %d, want %d", f.Version, fileVersion)
	}
	for id, p := range f.Peers {
		if p == nil || len(id) > 128 || !p.valid() {
			return nil, fmt.Errorf("peer %.40q: %w", string(id), inference.ErrInvalid)
		}
	}
	trim(f.Peers, maxPeers)
	if f.Peers == nil {
		f.Peers = map[inference.PeerID]*peer{}
	}
	return f.Peers, nil
}

// valid reports whether every sum is one that observations can give.
func (p *peer) valid() bool {
	sums := append([]float64{p.Up, p.Down, p.Decode.Millis, p.Decode.Units, p.Decode.Steps,
		p.Prefill.Millis, p.Prefill.Units, p.Prefill.Steps}, p.Failed[:]...)
	return !slices.ContainsFunc(sums, func(x float64) bool { return x < 0 || x > 1e18 || math.IsNaN(x) })
}

// mergeFile writes peers to path, whole or not at all. A peer that the file
// knows more recently, from another process, stays as it is there; a file that
// cannot be read is replaced.
func mergeFile(path string, peers map[inference.PeerID]*peer) error {
	if theirs, err := readFile(path); err == nil {
		for id, p := range theirs {
			if q := peers[id]; q == nil || p.Seen.After(q.Seen) {
				peers[id] = p
			}
		}
	}
	trim(peers, maxPeers)
	b, err := json.Marshal(file{fileVersion, peers})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".ratings-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = tmp.Write(b)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		os.Remove(tmp.Name())
	}
	return err
}
