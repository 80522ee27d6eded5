// Package rating turns what a client observes of peers into scores.
//
// In go observations: a peer computed so many token·blocks of a line in such a
// time ([Book.Served]), or failed in such a way ([Book.Failed]). Out come a
// score in [0,1] for routing ([Book.Score]), measured rates in milliseconds per
// token·block ([Book.Observed]), and the pay of a score ([Adjustment], [Pay]).
//
// The formula, each term in [0,1]:
//
//	Base = 0.4·Uptime + 0.3·Speed + 0.2·Accuracy + 0.1·Satisfaction
//	Adj  = clamp((Base − 0.8) · 0.5, −0.10, +0.10)
//	Pay  = BasePay · (1 + Adj)
//
// A term that nobody has measured is 0.8. Uptime and the weight of measured
// rates halve every few minutes, so that a peer that failed or was slow gets
// another chance. The formula and the statistics are pure functions of values
// and times; [Book] adds the clock, a bound on peers and a file.
//
// The package knows nothing of prices, routes or the network; peers and models
// are opaque names.
package rating
