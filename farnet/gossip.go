package farnet

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/farlabs/inference"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pubsubpb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"
)

const (
	// modelTopic + digest carries the records of one model.
	modelTopic = "/farlabs/records/1/"
	// allTopic carries those of all models, less often.
	allTopic = "/farlabs/models/1"
	// maxTopics bounds the models that one node follows.
	maxTopics = 32
)

// ourTopics are the topics that neighbours may subscribe to with us.
var ourTopics = regexp.MustCompile(`^(/farlabs/records/1/[0-9a-f]{64}|/farlabs/models/1)$`)

// topic is a joined gossip topic and its reader.
type topic struct {
	t   *pubsub.Topic
	sub *pubsub.Subscription
}

// startGossip makes the router. Its parameters were measured on 400 simulated
// nodes: a third of the default traffic, every message delivered.
func (n *Node) startGossip() error {
	p := pubsub.DefaultGossipSubParams()
	p.D, p.Dlo, p.Dhi, p.Dscore, p.Dout = 5, 4, 8, 3, 1
	p.Dlazy, p.GossipFactor = 3, 0.02
	p.HistoryLength, p.HistoryGossip = 4, 2
	p.HeartbeatInterval = 2 * time.Second
	ps, err := pubsub.NewGossipSub(n.ctx, n.host,
		pubsub.WithGossipSubParams(p),
		// A record carries its own signature; messages need no second one.
		pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign),
		pubsub.WithNoAuthor(),
		pubsub.WithMessageIdFn(func(m *pubsubpb.Message) string {
			h := sha256.Sum256(m.Data)
			return string(h[:12])
		}),
		// What a node says of itself goes to every neighbour, mesh or not.
		pubsub.WithFloodPublish(true),
		pubsub.WithMaxMessageSize(4*MaxRecordBytes),
		pubsub.WithSubscriptionFilter(pubsub.WrapLimitSubscriptionFilter(pubsub.NewRegexpSubscriptionFilter(ourTopics), 4*maxTopics)),
	)
	if err != nil {
		return err
	}
	n.gossip = ps
	n.all, err = n.joinTopic(allTopic, nil)
	return err
}

// join makes sure that the model's topic is followed.
func (n *Node) join(d inference.Digest) error {
	n.joinMu.Lock()
	defer n.joinMu.Unlock()
	n.mu.Lock()
	_, ok := n.follows[d]
	full := len(n.follows) >= maxTopics
	n.mu.Unlock()
	if ok {
		return nil
	}
	if full {
		return fmt.Errorf("follow %s: at most %d models: %w", d.Short(), maxTopics, ErrTooLarge)
	}
	var t *topic
	if !n.cfg.ClientMode {
		var err error
		if t, err = n.joinTopic(modelTopic+d.String(), &d); err != nil {
			return fmt.Errorf("follow %s: %w", d.Short(), err)
		}
	}
	n.mu.Lock()
	n.follows[d] = t
	n.mu.Unlock()
	return nil
}

// joinTopic subscribes to a topic whose records are all of the model d, or of
// any model when d is nil.
func (n *Node) joinTopic(name string, d *inference.Digest) (*topic, error) {
	err := n.gossip.RegisterTopicValidator(name, func(_ context.Context, from peer.ID, m *pubsub.Message) pubsub.ValidationResult {
		r, err := parseSigned(m.Data)
		switch {
		case err != nil:
			n.log.Debug("record rejected", "from", from, "err", err)
			return pubsub.ValidationReject
		case d != nil && r.record.Digest != *d:
			return pubsub.ValidationReject
		case r.peer == n.self && from != n.self:
			n.news.echo(r)
			return pubsub.ValidationIgnore
		case from != n.self && r.record.Sequence < n.table.newest(r.key()):
			return pubsub.ValidationIgnore
		}
		m.ValidatorData = r
		return pubsub.ValidationAccept
	})
	if err != nil {
		return nil, err
	}
	t, err := n.gossip.Join(name)
	if err != nil {
		return nil, err
	}
	sub, err := t.Subscribe(pubsub.WithBufferSize(1024))
	if err != nil {
		return nil, err
	}
	n.goRun(func(ctx context.Context) {
		defer sub.Cancel()
		for {
			m, err := sub.Next(ctx)
			if err != nil {
				return
			}
			if r, ok := m.ValidatorData.(*signedRecord); ok && m.ReceivedFrom != n.self {
				n.learn(r, r.ttl())
			}
		}
	})
	return &topic{t, sub}, nil
}

// spread passes on a record that came by another way than gossip.
func (n *Node) spread(r *signedRecord) {
	n.gossipTo(r.record.Digest, r)
	n.gossipAll(r)
}

func (n *Node) gossipTo(d inference.Digest, r *signedRecord) {
	n.mu.Lock()
	t := n.follows[d]
	n.mu.Unlock()
	n.publish(t, r)
}

func (n *Node) gossipAll(r *signedRecord) { n.publish(n.all, r) }

func (n *Node) publish(t *topic, r *signedRecord) {
	if t == nil {
		return
	}
	err := t.t.Publish(n.ctx, r.bytes)
	if err != nil && !errors.Is(err, context.Canceled) {
		// Duplicate and rejected messages end up here too, at no harm.
		n.log.Debug("gossip", "err", err)
	}
}
