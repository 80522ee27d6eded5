package simnet

import (
	"fmt"
	"sync"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/kernels/device"
	"github.com/farlabs/inference/model"
	"github.com/farlabs/inference/model/chat"
	"github.com/farlabs/inference/model/modeltest"
	"github.com/farlabs/inference/model/tokenizer"
	"github.com/farlabs/inference/model/weights"
)

// Model is a random model with everything that clients and nodes need of it.
// Tests share one: it keeps nothing of a session.
type Model struct {
	Checkpoint *weights.Checkpoint
	Ends       *model.Ends
	Tokenizer  *tokenizer.Tokenizer
	Template   *chat.Template
	Digest     inference.Digest
	Layers     int
	Context    int

	queue *device.Queue // of one worker, which a bubble needs

	mu    sync.Mutex
	spans map[inference.BlockRange]*model.Span
}

// Load writes the model to path and opens it. Close it after the tests.
func Load(path string, m modeltest.Llama) (*Model, error) {
	if err := m.Write(path); err != nil {
		return nil, fmt.Errorf("simnet: %w", err)
	}
	c, err := weights.Open(path)
	if err != nil {
		return nil, fmt.Errorf("simnet: %w", err)
	}
	l := &Model{
		Checkpoint: c, Digest: inference.Digest{1, 2, 3}, Layers: m.Layers, Context: m.Context,
		queue: device.NewQueue(1), spans: map[inference.BlockRange]*model.Span{},
	}
	if err := l.open(); err != nil {
		c.Close()
		return nil, fmt.Errorf("simnet: %w", err)
	}
	return l, nil
}

func (m *Model) open() (err error) {
	if m.Ends, err = model.LoadEnds(m.Checkpoint); err != nil {
		return err
	}
	if m.Tokenizer, err = tokenizer.FromGGUF(m.Checkpoint); err != nil {
		return err
	}
	text, _ := m.Checkpoint.String("tokenizer.chat_template")
	m.Template, err = chat.New(text)
	return err
}

// Close closes the model's file.
func (m *Model) Close() error {
	m.queue.Close()
	return m.Checkpoint.Close()
}

// span returns the span of some blocks, shared by all who ask for them.
func (m *Model) span(r inference.BlockRange) (*model.Span, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.spans[r]; s != nil {
		return s, nil
	}
	s, err := model.LoadSpan(m.Checkpoint, r)
	if err == nil {
		m.spans[r] = s
	}
	return s, err
}
