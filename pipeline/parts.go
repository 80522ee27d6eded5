package pipeline

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/device"
	"github.com/farlabs/inference/kernels/tensor"
	"github.com/farlabs/inference/model/chat"
	"github.com/farlabs/inference/model/tokenizer"
	"github.com/farlabs/inference/pipeline/wire"
)

// Ends are the parts of a model that the client computes. *model.Ends is one.
type Ends interface {
	Hidden() int // width of a hidden state
	Vocab() int  // logits per position
	// Embed writes the embeddings of ids, rounded to the wire dtype, to dst [n, d] f32.
	Embed(q *device.Queue, dst tensor.Buffer, ids []inference.TokenID, wire inference.WireDType) error
	// Head writes the logits of hidden [n, d] to dst [n, V] f32.
	Head(q *device.Queue, dst, hidden tensor.Buffer) error
}

// Directory is what is known of the nodes of the network.
type Directory interface {
	// Records returns the records of the nodes of a model that may be used.
	Records(digest inference.Digest) []inference.NodeRecord
	// Changed is closed when the table changes after the call.
	Changed() <-chan struct{}
	// RTT returns the measured round trip to a peer, 0 when unmeasured.
	RTT(peer inference.PeerID) time.Duration
	// Suspect takes a peer out of Records until it answers again.
	Suspect(peer inference.PeerID)
}

// Links carries frames to peers. *link.Mux is one.
type Links interface {
	Connect(ctx context.Context, peer inference.PeerID) error
	// Send takes the frame and never blocks.
	Send(peer inference.PeerID, f *wire.Frame) error
}

// Purse keeps the client's accounts with nodes.
type Purse interface {
	// Account opens the books for one hop of one session, or opens them again
	// for another epoch or role.
	Account(o AccountInfo) (Account, error)
	// Claims returns sessions at the node with this signer that are over and
	// wait for their final receipt, of earlier processes too; Adopt takes such
	// a receipt, Lost tells that the node knows nothing of the session.
	Claims(signer inference.Address) []inference.SessionID
	Adopt(r *inference.Receipt, signer inference.Address) error
	Lost(session inference.SessionID, signer inference.Address) error
}

// AccountInfo says who is to be paid for what.
type AccountInfo struct {
	Session inference.SessionID
	Epoch   inference.Epoch
	Model   inference.ModelID    // label
	Record  inference.NodeRecord // node, wallet, signer, quote
	Blocks  inference.BlockRange
}

// Account pays one node for one session. Safe for concurrent use.
type Account interface {
	// Order announces work, in token·blocks, that will be sent next. It returns
	// the voucher that has to go with it, nil when it is covered already.
	Order(line inference.Line, units uint64) (*inference.Voucher, error)
	// Voucher returns one that is higher than all before, for a node that has
	// refused one.
	Voucher() (*inference.Voucher, error)
	// Withdraw takes back work that was ordered and whose steps were never sent,
	// or failed at the node by its own word.
	Withdraw(line inference.Line, units uint64) error
	// Delivered counts work that came back.
	Delivered(line inference.Line, units uint64)
	// Receipt takes a receipt of the node; an error says how it disagrees.
	Receipt(r *inference.Receipt) error
	// Resumed takes the receipt that comes when the node opens the session, in the
	// first epoch or another. What was sent before and is not in it failed, and is
	// owed no more; ahead is ordered and not sent yet.
	Resumed(r *inference.Receipt, ahead inference.Units) error
	// Close ends the session's part of the account.
	Close() error
}

// Scores keeps what the client observes of peers.
type Scores interface {
	Score(peer inference.PeerID) float64
	Observed(peer inference.PeerID) inference.Rates
	// Served tells that a peer computed units token·blocks in d.
	Served(peer inference.PeerID, line inference.Line, units uint64, d time.Duration)
	// Failed tells that a peer failed a session.
	Failed(peer inference.PeerID, kind FailureKind)
}

// Events tells a program what happens in sessions; any field may be nil. The
// functions must return at once.
type Events struct {
	// Progress is called for every progress message of a session's hop.
	Progress func(session inference.SessionID, p wire.Progress)
	// Routed is called when a session has a new route: the first, and after
	// every loss.
	Routed func(session inference.SessionID, r RouteInfo)
	// Waiting is called while a session has no route, each time that it has
	// looked for one again, until Routed is called or the session's timeout is
	// over. why is a *route.NoRouteError or a *BusyError.
	Waiting func(session inference.SessionID, why error)
}

// Parts are what a DistributedPipeline is made of. Connect fills them; a
// program that brings its own network or money fills them itself.
type Parts struct {
	Model   inference.ModelID
	Digest  inference.Digest
	Blocks  int // of the whole model
	Context int // positions that the model was made for
	// PageBytes returns the size of a KV page of one block at nodes of a class,
	// 0 if that is not known: what they announce of their memory is measured in
	// it. nil: every node seems large enough.
	PageBytes func(inference.NumericsClass) int64
	Ends      Ends
	Queue     *device.Queue
	Tokenizer *tokenizer.Tokenizer
	Template  *chat.Template // nil: the model has none
	Exchange  *Exchange      // the handler of Links
	Links     Links
	Directory Directory
	Purse     Purse  // nil: nothing is paid
	Scores    Scores // nil: every peer scores 0.8
	Events    Events
	Log       *slog.Logger
	Defaults  SessionOptions
}

// DistributedPipeline answers requests for one model over the network. It is
// safe for concurrent use.
type DistributedPipeline struct {
	parts Parts
	heads heads
	over  bool         // no session may begin any more; under the Exchange's mu
	use   sync.RWMutex // read-held while a session computes with the model's ends
	once  sync.Once
	close func() error // of what belongs to this pipeline
	leave func() error // of the client that Connect made for it
}

// New returns a pipeline over parts, which it does not close.
func New(parts Parts) *DistributedPipeline {
	if parts.Log == nil {
		parts.Log = slog.New(slog.DiscardHandler)
	}
	if parts.Scores == nil {
		parts.Scores = noScores{}
	}
	return &DistributedPipeline{parts: parts, heads: heads{ends: parts.Ends, queue: parts.Queue}}
}

// Model returns the id that the pipeline was opened with.
func (p *DistributedPipeline) Model() inference.ModelID { return p.parts.Model }

// Digest returns the model's identity.
func (p *DistributedPipeline) Digest() inference.Digest { return p.parts.Digest }

// Context returns the positions that the model was made for.
func (p *DistributedPipeline) Context() int { return p.parts.Context }

// Blocks returns the number of blocks of the whole model.
func (p *DistributedPipeline) Blocks() int { return p.parts.Blocks }

// Tokenizer returns the model's tokenizer.
func (p *DistributedPipeline) Tokenizer() *tokenizer.Tokenizer { return p.parts.Tokenizer }

// Close ends the sessions of this pipeline, whose calls return ErrClosed from
// then on, and releases what was opened for it; after Connect it leaves the
// network too. It waits for calls that run: do not call it from Events.
func (p *DistributedPipeline) Close() error {
	if p.leave != nil {
		return p.leave() // which releases p
	}
	return p.release()
}

func (p *DistributedPipeline) release() (err error) {
	p.once.Do(func() {
		p.parts.Exchange.finish(p)
		p.use.Lock() // calls that run are told to end; those to come find it ended
		defer p.use.Unlock()
		if p.close != nil {
			err = p.close()
		}
	})
	return err
}

type noScores struct{}

func (noScores) Score(inference.PeerID) float64                                 { return 0.8 }
func (noScores) Observed(inference.PeerID) inference.Rates                      { return inference.Rates{} }
func (noScores) Served(inference.PeerID, inference.Line, uint64, time.Duration) {}
func (noScores) Failed(inference.PeerID, FailureKind)                           {}
