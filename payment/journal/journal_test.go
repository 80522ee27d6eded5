package journal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const kind = "test 1"

func open(t *testing.T, path string) (*Journal, []string) {
	t.Helper()
	var got []string
	j, err := Open(path, Options{Kind: kind}, func(r []byte) error {
		got = append(got, string(r))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Abandon() })
	return j, got
}

func add(t *testing.T, j *Journal, records ...string) {
	t.Helper()
	for _, r := range records {
		if err := j.Append([]byte(r)); err != nil {
			t.Fatal(err)
		}
	}
}

func want(t *testing.T, got []string, want ...string) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("records %q, want %q", got, want)
	}
}

func TestRecordsAreThereAfterACrash(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	j, got := open(t, path)
	want(t, got)
	add(t, j, "one", "two")
	j.Abandon()
	j, got = open(t, path)
	want(t, got, "one", "two")
	add(t, j, "three")
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	_, got = open(t, path)
	want(t, got, "one", "two", "three")
}

func TestUnfinishedRecordIsCutOffAtEveryLength(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "j")
	j, _ := open(t, path)
	add(t, j, "first", "second")
	j.Abandon()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	firstEnd := headerSize + frameSize + len("first")
	for n := range whole {
		if err := os.WriteFile(path, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		j, got := open(t, path)
		if n >= firstEnd {
			want(t, got, "first")
		} else {
			want(t, got)
		}
		add(t, j, "next")
		j.Abandon()
		_, got = open(t, path)
		if got[len(got)-1] != "next" {
			t.Fatalf("cut at %d: appended record lost: %q", n, got)
		}
	}
}

func TestZeroTailOfAPowerLossIsCutOff(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	j, _ := open(t, path)
	add(t, j, "one")
	j.Abandon()
	appendTo(t, path, make([]byte, 3*MaxRecord))
	_, got := open(t, path)
	want(t, got, "one")
	if bad, _ := filepath.Glob(path + ".bad-*"); len(bad) > 0 {
		t.Errorf("zeros were set aside: %v", bad)
	}
}

func TestDamageIsSetAsideNotDropped(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	j, _ := open(t, path)
	add(t, j, "one")
	size := j.Size()
	for range 10 {
		add(t, j, string(bytes.Repeat([]byte{'x'}, 1000)))
	}
	j.Abandon()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[size+20] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	_, got := open(t, path)
	want(t, got, "one")
	kept, err := os.ReadFile(fmt.Sprintf("%s.bad-%d", path, size))
	if err != nil || !bytes.Equal(kept, b[size:]) {
		t.Errorf("kept %d bytes of %d: %v", len(kept), len(b)-int(size), err)
	}
}

func TestFileOfAnotherKindIsRefusedAndLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	text := []byte("#!/bin/sh\necho this is something else\n")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, Options{Kind: kind}, func([]byte) error { return nil }); err == nil {
		t.Error("opened")
	}
	if b, _ := os.ReadFile(path); !bytes.Equal(b, text) {
		t.Error("file was changed")
	}
}

func TestRewriteReplacesTheRecords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	j, _ := open(t, path)
	for i := range 100 {
		add(t, j, fmt.Sprint(i))
	}
	before := j.Size()
	if err := j.Rewrite(func(emit func([]byte) error) error { return emit([]byte("all")) }); err != nil {
		t.Fatal(err)
	}
	if j.Size() >= before {
		t.Errorf("%d bytes, before %d", j.Size(), before)
	}
	add(t, j, "more")
	j.Abandon()
	j, got := open(t, path)
	want(t, got, "all", "more")

	failed := errors.New("failed")
	err := j.Rewrite(func(emit func([]byte) error) error {
		emit([]byte("half"))
		return failed
	})
	if !errors.Is(err, failed) {
		t.Errorf("error %v", err)
	}
	add(t, j, "after")
	j.Abandon()
	_, got = open(t, path)
	want(t, got, "all", "more", "after")
}

func TestRecordsOfImpossibleLengthAreRefused(t *testing.T) {
	j, _ := open(t, filepath.Join(t.TempDir(), "j"))
	if j.Append(nil) == nil || j.Append(make([]byte, MaxRecord+1)) == nil {
		t.Error("accepted")
	}
	if err := j.Append(make([]byte, MaxRecord)); err != nil {
		t.Error(err)
	}
}

func TestConcurrentAppendsAndSyncsKeepEveryRecord(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	j, _ := open(t, path)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 20 {
				if err := j.Append(fmt.Appendf(nil, "%d-%d", w, i)); err != nil {
					t.Error(err)
				}
				j.SyncSoon()
				if i%5 == 0 {
					if err := j.Sync(); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := j.Append([]byte("x")); !errors.Is(err, ErrClosed) {
		t.Errorf("append after close: %v", err)
	}
	if _, got := open(t, path); len(got) != 160 {
		t.Errorf("%d records", len(got))
	}
}

func TestWaitingSyncsShareOneFsync(t *testing.T) {
	j, _ := open(t, filepath.Join(t.TempDir(), "j"))
	add(t, j, "one")
	j.mu.Lock()
	j.syncing = true // an fsync is on its way
	j.mu.Unlock()
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if err := j.Sync(); err != nil {
				t.Error(err)
			}
		})
	}
	runtime.Gosched()
	j.mu.Lock()
	j.syncing, j.synced = false, j.count // and covers what they wait for
	j.err = errors.New("nobody needs another")
	j.cond.Broadcast()
	j.mu.Unlock()
	wg.Wait()
}

func TestFullDiskLeavesTheJournalUsable(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("no /dev/full here")
	}
	path := filepath.Join(t.TempDir(), "j")
	j, _ := open(t, path)
	add(t, j, "one")
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	good := j.f
	j.f = full
	if err := j.Append([]byte("two")); err == nil {
		t.Error("append to a full disk succeeded")
	}
	j.f = good
	full.Close()
	add(t, j, "three")
	j.Abandon()
	_, got := open(t, path)
	want(t, got, "one", "three")
}

func TestLockKeepsASecondHolderOut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	l, err := TakeLock(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := TakeLock(path); !errors.Is(err, ErrLocked) {
		t.Errorf("second lock: %v", err)
	}
	if err := l.Release(); err != nil {
		t.Fatal(err)
	}
	l, err = TakeLock(path)
	if err != nil {
		t.Fatalf("after release: %v", err)
	}
	l.Release()
}

func appendTo(t *testing.T, path string, b []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(b); err != nil {
		t.Fatal(err)
	}
	f.Close()
}

// What scan takes as whole records is what frame would write for them.
func FuzzScan(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(header(kind))
	f.Add(frame(frame(header(kind), []byte("a")), []byte("bc")))
	f.Add(append(frame(header(kind), []byte("a")), 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4))
	f.Fuzz(func(t *testing.T, b []byte) {
		again := header(kind)
		good, err := scan(bytes.NewReader(b), kind, func(r []byte) error {
			again = frame(again, r)
			return nil
		})
		if err != nil || good == 0 {
			return
		}
		if !bytes.Equal(again, b[:good]) {
			t.Fatalf("%d bytes are not what was read", good)
		}
	})
}
