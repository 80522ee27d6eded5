package farnet

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/farlabs/inference"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

const (
	// exchangeTimeout bounds a whole snapshot.
	exchangeTimeout = 10 * time.Second
	// maxServed bounds the snapshots and subscriptions served at a time; one
	// more is reset and its peer asks somebody else.
	maxServed = 512
	// aliveEvery is how often a quiet subscription says that it lives, and
	// aliveTimeout when its reader stops believing so.
	aliveEvery   = 1500 * time.Millisecond
	aliveTimeout = 4 * time.Second
)

// serveSnapshot answers one request with the records asked for.
func (n *Node) serveSnapshot(s network.Stream) {
	defer s.Close()
	_ = s.SetDeadline(time.Now().Add(exchangeTimeout))
	q, err := n.readRequest(s)
	if err == nil && n.serving.enter() {
		err = n.sendSnapshot(s, q)
		n.serving.leave()
	} else if err == nil {
		err = errors.New("too many at a time")
	}
	if err != nil {
		n.log.Debug("snapshot refused", "peer", s.Conn().RemotePeer(), "err", err)
		_ = s.Reset()
	}
}

// serveRecords answers as serveSnapshot does and then sends the news, until
// the other side ends the stream or reads too slowly.
func (n *Node) serveRecords(s network.Stream) {
	defer s.Reset()
	_ = s.SetDeadline(time.Now().Add(exchangeTimeout))
	q, err := n.readRequest(s)
	if err != nil || !n.serving.enter() {
		return
	}
	defer n.serving.leave()
	// The feed begins before the snapshot, so that nothing falls between them.
	f := n.table.subscribe(q.wants)
	defer n.table.unsubscribe(f)
	if err := n.sendSnapshot(s, q); err != nil {
		return
	}
	tick := time.NewTicker(aliveEvery)
	defer tick.Stop()
	quiet := true
	for {
		m := message{kind: msgAlive}
		select {
		case <-n.ctx.Done():
			return
		case <-f.lost:
			return
		case e := <-f.events:
			quiet = false
			if e.record == nil {
				m = message{kind: msgSuspect, suspect: e.suspect}
			} else {
				m = message{kind: msgRecord, left: e.record.ttl(), envelope: e.record.bytes}
			}
		case <-tick.C:
			if !quiet {
				quiet = true
				continue
			}
		}
		_ = s.SetWriteDeadline(time.Now().Add(aliveTimeout))
		if err := writeFrame(s, m.append(nil)); err != nil {
			return
		}
	}
}

// wants reports whether a notice belongs to the answer of q.
func (q *request) wants(e notice) bool {
	if q.all || e.record == nil {
		return true
	}
	for _, d := range q.digests {
		if d == e.record.record.Digest {
			return true
		}
	}
	return false
}

// readRequest reads the request and takes in the records that it brings.
func (n *Node) readRequest(s network.Stream) (*request, error) {
	b, err := readFrame(bufio.NewReader(s), nil, maxRequest)
	if err != nil {
		return nil, err
	}
	q, err := parseRequest(b)
	if err != nil {
		return nil, err
	}
	for _, p := range q.push {
		r, err := parseSigned(p)
		if err != nil {
			return nil, err
		}
		if n.learn(r, r.ttl()) {
			n.spread(r)
		}
	}
	return q, nil
}

func (n *Node) sendSnapshot(s network.Stream, q *request) error {
	w := bufio.NewWriterSize(s, 16<<10)
	sent, now := 0, time.Now()
	send := func(r row) error {
		// A suspect would only have to be found dead again by the reader.
		if n.health.suspected(r.peer) {
			return nil
		}
		if sent += len(r.bytes) + 16; sent > maxSnapshot {
			return nil
		}
		m := message{kind: msgRecord, left: r.expires.Sub(now), envelope: r.bytes}
		return writeFrame(w, m.append(nil))
	}
	lists := make([][]row, 0, len(q.digests))
	if q.all {
		lists = append(lists, n.table.list(nil))
	} else {
		for _, d := range q.digests {
			lists = append(lists, n.table.list(&d))
		}
	}
	for _, rows := range lists {
		for _, r := range rows {
			if err := send(r); err != nil {
				return err
			}
		}
	}
	if err := writeFrame(w, (&message{kind: msgEnd}).append(nil)); err != nil {
		return err
	}
	return w.Flush()
}

// ask opens a stream of one of the table's protocols to p and sends q.
func (n *Node) ask(ctx context.Context, p peer.ID, proto protocol.ID, q *request) (network.Stream, error) {
	dctx, cancel := context.WithTimeout(ctx, n.cfg.DialTimeout)
	defer cancel()
	if err := n.connect(dctx, p); err != nil {
		return nil, err
	}
	s, err := n.host.NewStream(network.WithAllowLimitedConn(dctx, "records"), p, proto)
	if err != nil {
		return nil, err
	}
	_ = s.SetDeadline(time.Now().Add(exchangeTimeout))
	if err := writeFrame(s, q.append(nil)); err != nil {
		_ = s.Reset()
		return nil, err
	}
	_ = s.CloseWrite()
	return s, nil
}

// exchange fetches the records of all models from p, in return for our own.
func (n *Node) exchange(ctx context.Context, p peer.ID, q *request) error {
	ctx, cancel := context.WithTimeout(ctx, exchangeTimeout)
	defer cancel()
	s, err := n.ask(ctx, p, snapshotProtocol, q)
	if err != nil {
		return fmt.Errorf("snapshot from %s: %w", p, err)
	}
	defer s.Close()
	stop := context.AfterFunc(ctx, func() { _ = s.Reset() })
	defer stop()
	if err := n.readRecords(bufio.NewReader(s)); err != nil {
		_ = s.Reset()
		return fmt.Errorf("snapshot from %s: %w", p, err)
	}
	return nil
}

// readRecords takes in messages up to msgEnd.
func (n *Node) readRecords(r *bufio.Reader) error {
	var buf []byte
	for size := 0; ; {
		b, err := readFrame(r, buf, maxMessage)
		if err != nil {
			return err
		}
		buf = b
		if size += len(b); size > maxSnapshot {
			return fmt.Errorf("snapshot: %w", ErrTooLarge)
		}
		end, err := n.readMessage(b)
		if end || err != nil {
			return err
		}
	}
}

// readMessage acts on one message; end reports msgEnd.
func (n *Node) readMessage(b []byte) (end bool, err error) {
	m, err := parseMessage(b)
	if err != nil {
		return false, err
	}
	switch m.kind {
	case msgRecord:
		r, err := parseSigned(m.envelope)
		if err != nil {
			return false, err
		}
		n.learn(r, m.left)
	case msgSuspect:
		// Somebody else's word is only a reason to look for oneself.
		if n.table.knows(m.suspect) && !n.health.suspected(m.suspect) && n.health.hinted(m.suspect) {
			n.verifyWithin(m.suspect, min(hintTimeout, n.cfg.ProbeTimeout))
		}
	case msgEnd:
		return true, nil
	}
	return false, nil
}

// learn takes a verified record into the table and reports whether it was news.
func (n *Node) learn(r *signedRecord, life time.Duration) bool {
	if r.peer == n.self {
		n.news.echo(r)
		return false
	}
	if err := n.table.apply(r, life); err != nil {
		return false
	}
	if r.record.State == inference.StateGone {
		n.log.Debug("node left", "peer", r.peer, "model", r.record.Model)
		n.health.tellDown(r.peer)
	} else if n.health.suspected(r.peer) {
		n.verify(r.peer) // it has just spoken
	}
	return true
}
