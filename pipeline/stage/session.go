package stage

import (
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/tensor"
	"github.com/farlabs/inference/model"
	"github.com/farlabs/inference/pipeline/wire"
)

const (
	maxAhead  = 256 // steps that came before their turn
	maxQueue  = 512 // steps that wait for a pass, or for window to leave
	maxRecent = 256 // steps of which the hash is known, to tell duplicates
	decodeMax = 16  // rows of a step that counts as decode
)

// session is a client's session at this stage. Stage.mu guards it; branches,
// and the head of queue, belong to the scheduler while inPass.
type session struct {
	id     inference.SessionID
	client *client
	order  uint64 // in which sessions came

	// The route, renewed by every epoch.
	route  route
	open   bool   // Opened was sent
	failed bool   // nothing more is done in this epoch
	direct bool   // steps go to route.Next; else to the client
	ended  bool   // closed; only the scheduler or a clerk still holds it
	next   *route // an Open that waits for the end of the pass
	// Bytes of Stage.reserved: the window of next, or of route.
	reserved int64

	deadline time.Time
	active   time.Time // last frame
	lost     time.Time // the client's link is gone since; zero: it is there
	account  Account
	outcome  inference.Outcome

	// For the log.
	since     time.Time // first opened; zero: never
	positions uint64    // of steps that have left
	units     uint64    // token·blocks of them

	branches map[uint32]*model.Branch
	parked   bool      // it was told to come again: its pages are others'
	worked   time.Time // last step that came, or pass that it was in

	// Steps in.
	received uint64 // highest seq that came with all before it
	started  uint64
	sent     uint64
	ahead    map[uint64]*step
	queue    []*step
	recent   [maxRecent]seen
	unacked  int64 // payload bytes of this epoch that credit was not returned for
	reading  map[inference.PeerID]int64
	owed     map[inference.PeerID]int64 // credit to return
	inPass   bool
	unpaid   time.Time // since when the head of queue waits for a voucher …
	debt     string    // … and why
	turn     uint64    // number of the last pass

	// Steps out.
	outbox   []outgoing
	outBytes int64 // payload in outbox and being made
	window   int64 // bytes the receiver can take

	// Progress.
	listed   bool // in Stage.flush
	told     time.Time
	overdue  time.Time
	reported wire.Progress // the last one sent

	// Jobs that may wait for disk or network, one at a time; see task.
	jobs   []job
	busy   bool
	raised uint64 // vouchers taken
}

type seen struct{ seq, hash uint64 }

// client is a peer that has sessions here.
type client struct {
	id       inference.PeerID
	live     int    // sessions, as Stage.live
	reserved int64  // windows
	pending  int    // rows waiting
	turn     uint64 // number of the last pass with a prompt of this client
}

// route is what an Open says of this epoch.
type route struct {
	wire.Open
	features wire.Features
	last     bool // outputs go to the client
	window   int64
	ids      bool // hop 1 takes token ids
}

// key tells sessions that can share a pass.
type key struct {
	blocks inference.BlockRange
	dtype  inference.WireDType
}

func (r *route) key() key { return key{r.Role.Blocks, r.Wire} }

// step is a step that waits or is being computed.
type step struct {
	m       *wire.Step
	payload tensor.Buffer
	bytes   int64 // of payload
	from    inference.PeerID
	arrived time.Time
	rows    int // positions
	done    int // of them, computed

	// Set by the scheduler.
	begun    bool // branch operations are done
	started  time.Time
	finished time.Time
	group    int // next row group …
	offset   int // … and position in it
	charged  inference.Units
	out      tensor.Buffer // what will be sent, [emitted, d] in the wire dtype
	filled   int           // bytes of out
	outBytes int64         // counted in session.outBytes
}

// outgoing is a frame that waits for window.
type outgoing struct {
	f       *wire.Frame
	seq     uint64
	units   inference.Units // billed when it leaves
	info    StepInfo
	waiting time.Time // since
}

// emitted returns which of row group r's positions leave hop, as offsets [lo, hi).
func emitted(m *wire.Step, r *wire.Row, last bool) (lo, hi uint32) {
	hi = r.N
	if m.Hop == m.EmitAt && r.EmitFrom > r.Start {
		lo = min(r.N, r.EmitFrom-r.Start)
	}
	if last {
		switch r.Want {
		case wire.WantNone:
			lo = hi
		case wire.WantLast:
			lo = min(max(lo, hi-1), hi)
		}
	}
	return lo, hi
}

// emits returns how many positions of m leave hop.
func emits(m *wire.Step, last bool) (n int) {
	for i := range m.Rows {
		lo, hi := emitted(m, &m.Rows[i], last)
		n += int(hi - lo)
	}
	return n
}
