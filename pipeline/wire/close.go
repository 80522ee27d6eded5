package wire

import "github.com/farlabs/inference"

// Close ends a session at a stage: queued steps are dropped, pages freed, and
// a last Receipt is sent.
type Close struct {
	Session inference.SessionID
	Outcome inference.Outcome // as the client sees it
}

// Kind implements Message.
func (*Close) Kind() Kind { return KindClose }

// Of implements Message.
func (m *Close) Of() inference.SessionID { return m.Session }

func (m *Close) append(b []byte) []byte { return append(append(b, m.Session[:]...), byte(m.Outcome)) }

func (m *Close) parse(d *decoder) {
	d.fixed(m.Session[:])
	m.Outcome = inference.Outcome(d.byte())
}
