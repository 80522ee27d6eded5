// Package simnet runs many nodes and clients in one process, for tests: real
// stages over real spans of a small random model, real links and the real
// client, over a network in memory. In a testing/synctest bubble time is
// virtual, so a test of a ten-second silence takes milliseconds.
//
//	synctest.Test(t, func(t *testing.T) {
//		c := simnet.New(t, m)
//		defer c.End()
//		c.Add("a", 0, 3)
//		b := c.Add("b", 3, 6)
//		p := c.Client("client", simnet.ClientOptions{})
//		…
//		b.Kill()
//	})
//
// What happens to peers and edges is a method: [Node.Kill], [Node.Freeze],
// [Node.Thaw], [Node.Slow], [Cluster.Wall], [Cluster.Cut]. [Cluster.End] stops
// everything and reports what was left behind: sessions, KV pages, payload
// memory. [Reference] computes what the answer has to be, without any network.
//
// The package owns what it starts. Discovery is a list ([Directory]); libp2p,
// processes and files are for package e2e.
package simnet
