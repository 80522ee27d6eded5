package pipeline_test

import (
	"context"
	"fmt"
	"log"

	"github.com/farlabs/inference"
	"github.com/farlabs/inference/model/chat"
	"github.com/farlabs/inference/model/sample"
	"github.com/farlabs/inference/pipeline"
	"github.com/farlabs/inference/pipeline/wire"
)

// An answer, printed as it comes. The model file has to be in the cache of this
// machine too: the client reads the embedding, the head and the tokenizer of it.
func Example() {
	ctx := context.Background()
	p, err := pipeline.Connect(ctx, pipeline.Config{
		Model: "smollm2-135m-instruct",
		Client: pipeline.ClientConfig{
			DataDir:   "farlabs-data", // the payer's key and books
			Bootstrap: []string{"/ip4/192.0.2.7/tcp/4744/p2p/12D3KooWCHWsV7qrTqdDcgdPBeTXFqhCWDV9BW56T8QeshDXmKTF"},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()

	request := pipeline.Request{
		Messages:  []chat.Message{{Role: "user", Content: "Why is the sky blue?"}},
		MaxTokens: 64,
		Sampling:  sample.Params{Temperature: 0.7, TopP: 0.95},
	}
	for delta, err := range p.Generate(ctx, request) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Print(delta.Text)
	}
}

// One level down: token ids in, logits out. The session survives the loss of
// any peer, here as in Generate.
func ExampleDistributedPipeline_Open() {
	ctx := context.Background()
	p, err := pipeline.Connect(ctx, pipeline.Config{
		Model:  "smollm2-135m-instruct",
		Client: pipeline.ClientConfig{DataDir: "farlabs-data"}, // nodes found by multicast DNS
	})
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()

	s, err := p.Open(ctx, pipeline.SessionOptions{MaxLength: 512, Wire: inference.WireF32})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()

	ids := p.Tokenizer().Encode("The capital of France is", false)
	hidden, err := s.Step(ctx, nil, []pipeline.Group{
		{IDs: ids, Want: wire.WantLast, Line: inference.LinePrefill},
	})
	if err != nil {
		log.Fatal(err)
	}
	logits, err := s.Logits(hidden[0])
	if err != nil {
		log.Fatal(err)
	}
	for _, t := range sample.TopLogProbs(logits[0], 3) {
		fmt.Printf("%q %.2f\n", p.Tokenizer().Decode([]inference.TokenID{t.ID}), t.LogProb)
	}
}
