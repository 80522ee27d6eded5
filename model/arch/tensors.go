package arch

import "fmt"

// Names are the tensors of a checkpoint; those of a block hold %d for its index.
type Names struct {
	Embed       string // [V, d]
	FinalNorm   string // [d]
	Head        string // [V, d]; "" where tied
	RopeFactors string // [R/2], divides the rotation's frequencies; "" where absent

	AttnNorm string // [d]
	Q        string // [H·D, d]
	K, V     string // [K·D, d]
	O        string // [d, H·D]
	MLPNorm  string // [d]
	Gate, Up string // [FFN, d]
	Down     string // [d, FFN]
}

// Tensor is a tensor's name and its shape, outermost dimension first.
type Tensor struct {
	Name  string
	Shape []int
}

// BlockTensors are the tensors of one block, whose index stands in their names.
type BlockTensors struct {
	AttnNorm, Q, K, V, O, MLPNorm, Gate, Up, Down Tensor
}

// List returns the tensors in the order a block uses them.
func (b *BlockTensors) List() []Tensor {
	return []Tensor{b.AttnNorm, b.Q, b.K, b.V, b.O, b.MLPNorm, b.Gate, b.Up, b.Down}
}

// BlockTensors returns the tensors that block i needs, with their shapes.
func (s *Spec) BlockTensors(i int) BlockTensors {
	t := func(pattern string, shape ...int) Tensor {
		if pattern == "" {
			return Tensor{Shape: shape}
		}
		return Tensor{fmt.Sprintf(pattern, i), shape}
	}
	d, q, kv := s.Hidden, s.Heads*s.HeadDim, s.KVHeads*s.HeadDim
	return BlockTensors{
		AttnNorm: t(s.Names.AttnNorm, d),
		Q:        t(s.Names.Q, q, d),
		K:        t(s.Names.K, kv, d),
		V:        t(s.Names.V, kv, d),
		O:        t(s.Names.O, d, q),
		MLPNorm:  t(s.Names.MLPNorm, d),
		Gate:     t(s.Names.Gate, s.FFN, d),
		Up:       t(s.Names.Up, s.FFN, d),
		Down:     t(s.Names.Down, d, s.FFN),
	}
}

// Embed is the matrix whose rows are the tokens' vectors, [V, d].
func (s *Spec) Embed() Tensor { return Tensor{s.Names.Embed, []int{s.Vocab, s.Hidden}} }

// FinalNorm is the weight of the norm in front of the head, [d].
func (s *Spec) FinalNorm() Tensor { return Tensor{s.Names.FinalNorm, []int{s.Hidden}} }

// Head is the matrix that makes logits, [V, d]; that of a tied model is Embed.
func (s *Spec) Head() Tensor {
	if s.Tied {
		return s.Embed()
	}
	return Tensor{s.Names.Head, []int{s.Vocab, s.Hidden}}
}

// RopeFactors divide the rotation's frequencies, [R/2]; without a name where
// the model has none.
func (s *Spec) RopeFactors() Tensor { return Tensor{s.Names.RopeFactors, []int{s.RopeDims / 2}} }

// Tensors returns every tensor of the model.
func (s *Spec) Tensors() []Tensor {
	list := []Tensor{s.Embed(), s.FinalNorm()}
	if !s.Tied {
		list = append(list, s.Head())
	}
	if s.Names.RopeFactors != "" {
		list = append(list, s.RopeFactors())
	}
	for i := range s.Layers {
		b := s.BlockTensors(i)
		list = append(list, b.List()...)
	}
	return list
}
