// Package openai converts between OpenAI's JSON and package pipeline.
//
// In: the body of a request ([ParseChat], [ParseCompletion]). Out: a [Call],
// with one [pipeline.Request] per prompt. Then in: the deltas of those
// requests; out: one JSON object ([Response]) or server-sent events ([Stream]).
// Choices are numbered prompt × n + i.
//
// A field that is known but not served yet is refused by name (unserved.go),
// an unknown one is ignored, so that no answer differs silently from what was
// asked for. Errors are [*Error]; their text names the field and what it wants.
//
// It owns the shapes and their rules (which keys are present, which null, the
// order of chunks). It knows nothing of HTTP, of time, or of who asks; it does
// no I/O and never keeps a request.
package openai
