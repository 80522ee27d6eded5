package pipeline

import (
	"github.com/farlabs/inference"
	"github.com/farlabs/inference/rating"
)

// scores adapts the ratings of one model's peers to what sessions need.
type scores struct{ *rating.Model }

func (s scores) Failed(peer inference.PeerID, kind FailureKind) {
	switch kind {
	case FailDead:
		s.Model.Failed(peer, rating.Dead)
	case FailStalled:
		s.Model.Failed(peer, rating.Stalled)
	case FailRefused:
		s.Model.Failed(peer, rating.Refused)
	case FailFaulty:
		s.Model.Failed(peer, rating.Faulty)
	case FailBusy:
		s.Model.Failed(peer, rating.Busy)
	case FailEdge, FailGone, FailSmall, FailLeaving: // nobody's fault
	}
}
