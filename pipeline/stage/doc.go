// Package stage is the server: it computes a span of blocks for the sessions of
// many clients.
//
// In: frames of package wire from clients and from the stages before. Out:
// steps to the stages after, outputs, progress and receipts to the clients. A
// step's rows come as token ids or as hidden states [rows, d] in the session's
// wire dtype, and leave as hidden states in that dtype.
//
// A [Stage] is the handler of a link.Mux. Its readers put steps into the queue
// of their session; one goroutine, [Stage.Run], makes passes of them: rows of
// any sessions with the same role and wire dtype, single tokens first, then
// pieces of prompts, by turns among clients and sessions. What a pass needs is
// checked and taken before it: KV pages, credit with the client's account, room
// for what will be sent on. A step whose receiver has no window left waits in
// its session and holds up nobody else.
//
// One mutex guards all sessions; it is never held over a pass, a disk or the
// network. Branches belong to the scheduler: while a session is in a pass
// everything that would change them waits for the end of the pass.
//
// Every queue has a bound: sessions, rows waiting, payload bytes (a window each
// session has reserved), steps out of order, positions, branches, KV pages,
// jobs for disk and network, time. Of sessions, rows and windows one client gets
// half. Whoever meets a bound is told which by a wire.Fail.
//
// The package declares what it needs of the model ([Span], [Ends]), of the
// network ([Links]) and of the money ([Meter]). It knows no routes, no prices
// and no dials.
package stage
