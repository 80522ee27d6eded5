// Package pipeline is the client: it turns a request into tokens by driving a
// chain of peers that together hold all blocks of a model.
//
// In: a [Request] (messages, a prompt or token ids, and how to sample). Out:
// a sequence of [Delta], each with the text and tokens that became known.
//
//	p, err := pipeline.Connect(ctx, pipeline.Config{Model: "smollm2-135m-instruct"})
//	for delta, err := range p.Generate(ctx, pipeline.Request{Messages: msgs, MaxTokens: 64}) { … }
//
// One level down, [DistributedPipeline.Open] gives a [Session]: token ids or
// hidden states in, hidden states or logits out, with branches and rollback.
//
// A session keeps the ids of every branch, so it survives the loss of any peer
// at any step: it plans a new route under a higher epoch, has the positions
// computed again where their KV was lost, and goes on with the step that was
// cut off. Because results do not depend on who computes them, the text goes
// on as if nothing had happened.
//
// The package holds the ends of the model (embedding, final norm and head),
// the tokenizer and the sampler; it never loads block weights. It declares
// what it needs of the network ([Directory], [Links]) and of the money
// ([Purse], [Scores]); connect.go wires the real ones. It knows no HTTP.
package pipeline
