// Package gateway serves models over HTTP in the form that OpenAI's clients
// speak: it turns requests into [pipeline.Request] and deltas into JSON and
// server-sent events.
//
// In: HTTP requests. Out: answers of the [Model] that a request names, errors
// in OpenAI's form, views of models and network. Routes, each also without /v1:
//
//	GET  /                       text page of the endpoints
//	GET  /health                 open to everyone
//	GET  /v1/models, /v1/models/{id}
//	GET  /v1/network             models with coverage, nodes with rates and price
//	POST /v1/chat/completions, /v1/completions
//
// It owns what HTTP brings: who may ask (host allow-list, origins, API keys),
// how much at once (bodies, concurrent requests, deadlines of reading and
// writing), when a client has gone (its session is cancelled), and the one
// table from errors to statuses (errors.go). JSON is read and written in
// gateway/openai.
//
// It knows nothing of peers, tensors or money beyond what pipeline tells, and
// logs no text of a request or answer, nor any error that may quote one.
package gateway
