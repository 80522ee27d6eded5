package rating

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farlabs/inference"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	toy   = inference.Digest{1}
	other = inference.Digest{2}
)

func book(t *testing.T, path string) *Book {
	t.Helper()
	b, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// decode lets a peer serve steps of 10 token·blocks in ms each.
func decode(m *Model, id inference.PeerID, steps int, ms float64) {
	for range steps {
		d := time.Duration(ms * float64(time.Millisecond))
		time.Sleep(d)
		m.Served(id, inference.LineDecode, 10, d)
	}
}

func TestUnknownPeerScoresUnmeasured(t *testing.T) {
	m := book(t, "").For(toy)
	if s := m.Score("nobody"); !near(s, 0.8) {
		t.Errorf("score %v", s)
	}
	if r := m.Observed("nobody"); r != (inference.Rates{}) {
		t.Errorf("rates %v", r)
	}
}

func TestServiceRaisesAndFailuresLowerUptime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := book(t, "").For(toy)
		decode(m, "good", 3000, 20) // a minute
		decode(m, "bad", 3000, 20)
		before := m.Terms("bad").Uptime
		m.Failed("bad", Dead)
		good, bad := m.Terms("good").Uptime, m.Terms("bad").Uptime
		if good <= Unmeasured || good > 1 || before <= Unmeasured || bad >= 0.5 || good < 0.88 || good > 0.91 {
			t.Errorf("good %v, bad %v before and %v after", good, before, bad)
		}
		if m.Score("bad") >= m.Score("good")-0.15 {
			t.Errorf("scores %v and %v", m.Score("good"), m.Score("bad"))
		}
	})
}

func TestKindsOfFailureWeighByBlame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := book(t, "").For(toy)
		for id, kind := range map[inference.PeerID]Failure{"dead": Dead, "stalled": Stalled, "refused": Refused, "busy": Busy, "faulty": Faulty} {
			m.Failed(id, kind)
		}
		m.Failed("unknown kind", 200)
		u := func(id inference.PeerID) float64 { return m.Terms(id).Uptime }
		if !(u("dead") == u("stalled") && u("dead") == u("faulty") && u("dead") < u("refused") && u("refused") < u("busy") && u("busy") < Unmeasured) {
			t.Errorf("dead %v, refused %v, busy %v", u("dead"), u("refused"), u("busy"))
		}
		if u("unknown kind") != Unmeasured {
			t.Errorf("unknown kind %v", u("unknown kind"))
		}
	})
}

func TestFailuresAreForgivenWithinAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := book(t, "").For(toy)
		m.Failed("p", Dead)
		at := m.Terms("p").Uptime
		time.Sleep(HalfLife)
		half := m.Terms("p").Uptime
		time.Sleep(5 * HalfLife)
		if late := m.Terms("p").Uptime; !(at < half && half < late && late > 0.75) {
			t.Errorf("%v, then %v, then %v", at, half, late)
		}
	})
}

func TestALongSessionOutweighsNothingForever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := book(t, "").For(toy)
		decode(m, "p", 10_000, 100) // many steps within 17 minutes
		m.Failed("p", Dead)
		if u := m.Terms("p").Uptime; u > 0.9 {
			t.Errorf("one death after ten thousand steps: uptime %v", u)
		}
	})
}

func TestPausesBetweenFastStepsCountInFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := book(t, "").For(toy)
		// Stopped for 100 of every 150 ms: most steps take 10 ms as ever, every
		// fifth takes 110.
		for i := range 200 {
			ms := 10.0
			if i%5 == 4 {
				ms = 110
			}
			decode(m, "slowed", 1, ms)
			decode(m, "equal", 1, 10)
		}
		slowed, equal := m.Observed("slowed").Decode, m.Observed("equal").Decode
		if ratio := slowed / equal; ratio < 2.9 || ratio > 3.1 {
			t.Errorf("%v and %v ms: %v times", slowed, equal, ratio)
		}
		if s := m.Terms("slowed").Speed; s < 0.6 || s > 0.7 {
			t.Errorf("speed %v", s)
		}
		if m.Score("slowed") >= m.Score("equal") {
			t.Errorf("scores %v and %v", m.Score("slowed"), m.Score("equal"))
		}
	})
}

func TestAPeerThatTurnsSlowIsNoticedWithinSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := book(t, "").For(toy)
		decode(m, "p", 5000, 10)
		decode(m, "p", 400, 30) // twelve seconds
		if ms := m.Observed("p").Decode; ms < 2 {
			t.Errorf("still %v ms per token·block of 1, then 3", ms)
		}
	})
}

func TestOldMeasurementsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := book(t, "").For(toy)
		decode(m, "p", 64, 10)
		time.Sleep(3 * HalfLife)
		if m.Observed("p").Decode != 1 {
			t.Errorf("after half an hour: %v", m.Observed("p"))
		}
		time.Sleep(20 * HalfLife)
		if r := m.Observed("p"); r != (inference.Rates{}) {
			t.Errorf("after hours: %v", r)
		}
	})
}

func TestPrefillAndDecodeAreMeasuredApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := book(t, "").For(toy)
		m.Served("p", inference.LinePrefill, 1000, 100*time.Millisecond)
		m.Served("p", inference.LineRecovery, 1000, 300*time.Millisecond)
		m.Served("p", inference.LineCached, 1000, time.Nanosecond)
		m.Served("p", inference.LineDecode, 10, 50*time.Millisecond)
		m.Served("p", inference.LineDecode, 0, time.Hour)
		if r := m.Observed("p"); !near(r.Prefill, 0.2) || !near(r.Decode, 5) {
			t.Errorf("rates %+v", r)
		}
		// Where decoding was never seen, prefill tells the speed.
		m.Served("q", inference.LinePrefill, 1000, 800*time.Millisecond)
		if s := m.Terms("q").Speed; !near(s, 0.5/0.8) {
			t.Errorf("speed %v", s)
		}
	})
}

func TestModelsAreMeasuredApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := book(t, "")
		decode(b.For(toy), "p", 10, 10)
		decode(b.For(toy), "q", 10, 10)
		decode(b.For(other), "slow", 10, 100)
		if s := b.For(toy).Terms("p").Speed; s != 1 {
			t.Errorf("speed %v", s)
		}
		if r := b.For(other).Observed("p"); r != (inference.Rates{}) {
			t.Errorf("rates of another model: %v", r)
		}
		decode(b.For(other), "p", 10, 50)
		if r := b.For(other).Observed("p"); !near(r.Decode, 5) {
			t.Errorf("after changing the model: %v", r)
		}
	})
}

func TestRatingsSurviveARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data", "ratings.json")
	synctest.Test(t, func(t *testing.T) {
		b := book(t, path)
		decode(b.For(toy), "slow", 50, 30)
		decode(b.For(toy), "fast", 50, 10)
		b.For(toy).Failed("dead", Dead)
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		c := book(t, path)
		defer c.Close()
		for _, id := range []inference.PeerID{"slow", "fast", "dead"} {
			if x, y := b.For(toy).Score(id), c.For(toy).Score(id); !near(x, y) {
				t.Errorf("%s: score %v, then %v", id, x, y)
			}
			if x, y := b.For(toy).Observed(id), c.For(toy).Observed(id); x != y {
				t.Errorf("%s: rates %v, then %v", id, x, y)
			}
		}
	})
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("file %v: %v", info, err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".ratings-*")); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}

func TestRatingsReachTheFileWhileInUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ratings.json")
	synctest.Test(t, func(t *testing.T) {
		b := book(t, path)
		defer b.Close()
		decode(b.For(toy), "p", 5, 10)
		time.Sleep(saveEvery + time.Second)
		synctest.Wait()
		peers, err := readFile(path)
		if err != nil || peers["p"] == nil {
			t.Errorf("a killed process would have left %v: %v", peers, err)
		}
	})
}

func TestProcessesKeepWhatOthersHaveLearnt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ratings.json")
	synctest.Test(t, func(t *testing.T) {
		a, b := book(t, path), book(t, path)
		decode(a.For(toy), "both", 10, 10)
		decode(a.For(toy), "a", 10, 10)
		decode(b.For(toy), "both", 10, 70)
		save := func(b *Book) {
			if err := b.Save(); err != nil {
				t.Fatal(err)
			}
		}
		save(a)
		save(b)
		decode(a.For(toy), "a", 1, 10) // a has older news of "both"
		save(a)
		a.Close()
		b.Close()
		c := book(t, path)
		defer c.Close()
		if c.For(toy).Observed("a").Decode != 1 || !near(c.For(toy).Observed("both").Decode, 7) {
			t.Errorf("a %v, both %v", c.For(toy).Observed("a"), c.For(toy).Observed("both"))
		}
	})
}

func TestPeersAreBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ratings.json")
	synctest.Test(t, func(t *testing.T) {
		b := book(t, path)
		m := b.For(toy)
		for i := range maxPeers + 10 {
			time.Sleep(time.Millisecond)
			m.Served(inference.PeerID(fmt.Sprintf("%0128d", i)), inference.LineDecode, 12345, 1234567*time.Microsecond)
		}
		if len(b.peers) != maxPeers {
			t.Errorf("%d peers", len(b.peers))
		}
		if b.peers[inference.PeerID(fmt.Sprintf("%0128d", 9))] != nil || b.peers[inference.PeerID(fmt.Sprintf("%0128d", 10))] == nil {
			t.Error("it was not the oldest that made room")
		}
		m.Score(inference.PeerID(fmt.Sprintf("%0128d", 100)))
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		c := book(t, path)
		if len(c.peers) != maxPeers {
			t.Errorf("%d peers read again", len(c.peers))
		}
		c.Close()
	})
	if info, err := os.Stat(path); err != nil || info.Size() > maxFile/2 {
		t.Errorf("file %v: %v", info.Size(), err)
	}
}

func TestUnreadableFileIsNamedAndLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ratings.json")
	for _, text := range []string{"", "{", `{"version":2}`, `{"version":1,"peers":{"p":null}}`, `{"version":1,"peers":{"p":{"up_s":-1}}}`} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path); err == nil || !bytes.Contains([]byte(err.Error()), []byte(path)) {
			t.Errorf("%q: %v", text, err)
		}
		if b, _ := os.ReadFile(path); string(b) != text {
			t.Errorf("%q became %q", text, b)
		}
	}
}

func FuzzFile(f *testing.F) {
	f.Add([]byte(`{"version":1,"peers":{"p":{"model":"0100000000000000000000000000000000000000000000000000000000000000","seen":"2026-01-02T03:04:05Z","up_s":10,"decode":{"ms":5,"units":10,"steps":1}}}}`))
	f.Add([]byte(`{"version":1,"peers":{"p":{"seen":"9999-01-02T03:04:05Z","up_s":1e17,"down_s":1e-300}}}`))
	f.Add([]byte(`{"version":1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		peers, err := parse(b)
		if err != nil {
			return
		}
		book := &Book{peers: peers}
		for id := range peers {
			m := book.For(peers[id].Digest)
			m.Served(id, inference.LineDecode, 1, time.Millisecond)
			if s := m.Score(id); !(s >= 0 && s <= 1) {
				t.Fatalf("score %v", s)
			}
		}
	})
}
