// Package pricing turns prices that people read into quotes that nodes sign,
// and back: USD per 1M tokens over all blocks of a model on one side, wei per
// token·block, line by line, on the other.
//
// It holds the price books of the catalog as data and checks a route's quotes
// against a ceiling. It is pure; it knows nothing of vouchers, nodes or who
// pays.
package pricing
