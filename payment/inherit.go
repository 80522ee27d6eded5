package payment

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/farlabs/inference/payment/journal"
)

const (
	purseKind   = "far purse 1"
	seriesAffix = "series-"
	purseSuffix = ".journal"
	lockSuffix  = ".lock"
)

func seriesPath(dir string, series uint64, suffix string) string {
	return filepath.Join(dir, seriesAffix+strconv.FormatUint(series, 10)+suffix)
}

// seriesFiles returns the journals in dir by series.
func seriesFiles(dir string) (map[uint64]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	all := map[uint64]string{}
	for _, e := range entries {
		s, ok1 := strings.CutPrefix(e.Name(), seriesAffix)
		s, ok2 := strings.CutSuffix(s, purseSuffix)
		if n, err := strconv.ParseUint(s, 10, 64); ok1 && ok2 && err == nil {
			all[n] = filepath.Join(dir, e.Name())
		}
	}
	return all, nil
}

// start picks a series that no process had, from the clock and above every one
// that has left a file, and makes its file.
func (p *Purse) start() error {
	series := uint64(max(time.Now().UnixMilli(), 1))
	for range 1000 {
		files, err := seriesFiles(p.cfg.Dir)
		if err != nil {
			return err
		}
		for n := range files {
			series = max(series, n+1)
		}
		path := seriesPath(p.cfg.Dir, series, purseSuffix)
		lock, err := journal.TakeLock(seriesPath(p.cfg.Dir, series, lockSuffix))
		if errors.Is(err, journal.ErrLocked) {
			series++ // another process starts in the same millisecond
			continue
		}
		if err != nil {
			return err
		}
		if _, err := os.Stat(path); err == nil {
			lock.Release()
			series++
			continue
		}
		p.lock, p.series, p.purseState = lock, series, newPurseState(series)
		p.journal, err = journal.Open(path, journal.Options{Kind: purseKind, NoSync: p.cfg.noSync}, p.apply)
		if err != nil {
			lock.Release()
		}
		return err
	}
	return errors.New("no free series")
}

// inherit takes over the files of processes that are gone. This purse's file
// names them in the same write that brings in what they hold, so that a crash
// at any point counts nothing twice.
func (p *Purse) inherit() error {
	files, err := seriesFiles(p.cfg.Dir)
	if err != nil {
		return err
	}
	locks := map[uint64]*journal.Lock{}
	defer func() {
		for n, l := range locks {
			_, err := os.Stat(files[n])
			l.Release()
			if errors.Is(err, os.ErrNotExist) {
				os.Remove(seriesPath(p.cfg.Dir, n, lockSuffix))
			}
		}
	}()
	states := map[uint64]purseState{}
	inside := map[uint64]bool{} // contained in another file already
	for _, n := range slices.Sorted(maps.Keys(files)) {
		if n == p.series {
			continue
		}
		lock, err := journal.TakeLock(seriesPath(p.cfg.Dir, n, lockSuffix))
		if err != nil { // its process lives
			s := newPurseState(n)
			if journal.Read(files[n], purseKind, s.apply) == nil {
				maps.Copy(inside, s.absorbed)
			}
			continue
		}
		locks[n] = lock
		s := newPurseState(n)
		if err := journal.Read(files[n], purseKind, s.apply); err != nil {
			if _, gone := os.Stat(files[n]); gone != nil {
				continue
			}
			// Kept for whoever can read it, out of the way of the next start.
			if err := os.Rename(files[n], files[n]+".bad"); err != nil {
				return err
			}
			continue
		}
		states[n] = s
		maps.Copy(inside, s.absorbed)
	}
	for n, s := range states {
		p.absorbed[n] = true
		if !inside[n] {
			p.absorb(&s)
		}
	}
	p.trim()
	if err := p.rewrite(); err != nil {
		return err
	}
	for n := range p.absorbed {
		if err := os.Remove(files[n]); err == nil || errors.Is(err, os.ErrNotExist) {
			delete(p.absorbed, n)
		}
	}
	return p.journal.Sync()
}

// absorb adds another series: what is settled as usage, the rest as claims.
func (p *Purse) absorb(s *purseState) {
	for k, r := range s.base {
		p.base.add(k, r)
	}
	p.base.fold(maxRows)
	p.promised = addCapped(p.promised, s.total())
	old := uint64(max(time.Now().Add(-claimTime).Unix(), 0))
	for _, t := range s.tabs {
		t.place = nil
		if t.state == tabSettled || t.opened < old {
			p.base.add(t.row())
			continue
		}
		if t.series == s.own { // other tabs may have raised it since t was written
			t.signed = s.promises[t.hop.Wallet]
		}
		t.purse, t.state = p, tabWaiting
		p.file(t)
	}
	p.base.fold(maxRows)
}

// ReadSpending says what the purses in dir have spent, also while processes use
// it; it can lag by one tranche per session.
func ReadSpending(dir string) (Usage, error) {
	files, err := seriesFiles(dir)
	if err != nil {
		return Usage{}, fmt.Errorf("read spending: %w", err)
	}
	states, inside := map[uint64]purseState{}, map[uint64]bool{}
	for _, n := range slices.Sorted(maps.Keys(files)) { // a file is read before the one that may absorb it
		s := newPurseState(n)
		if err := journal.Read(files[n], purseKind, s.apply); err != nil {
			return Usage{}, fmt.Errorf("read spending: %w", err)
		}
		states[n] = s
		maps.Copy(inside, s.absorbed)
	}
	sum := Usage{}
	all := rows{}
	for n, s := range states {
		if inside[n] {
			continue
		}
		u := s.usage()
		for _, r := range u.Rows {
			all.add(rowKey{r.Day, r.Model, r.Party}, r)
		}
		sum.Promised = addCapped(sum.Promised, u.Promised)
	}
	sum.Rows = all.list()
	return sum, nil
}
