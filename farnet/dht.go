package farnet

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/farlabs/inference"
	"github.com/hashicorp/golang-lru/simplelru"
	"github.com/ipfs/go-cid"
	ds "github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	dht "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p-kad-dht/records"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	mh "github.com/multiformats/go-multihash"
)

const (
	// dhtPrefix keeps our DHT apart from that of IPFS: /farlabs/kad/1.0.0.
	dhtPrefix = "/farlabs"
	// reprovideEvery renews a provider record long before it ends.
	reprovideEvery = 10 * time.Minute
	provideLife    = 30 * time.Minute
	// maxProviders bounds what one node stores: of one model, and in all.
	maxProvidersPerKey = 64
	maxProviders       = 16384
	// findProviders is how many nodes of a model a lookup asks for.
	findProviders = 8
)

// newDHT joins the host to the DHT, which holds provider records and no
// values. A node whose router hides it uses the DHT without serving it.
func newDHT(h host.Host, cfg *Config) (*dht.IpfsDHT, error) {
	mode := dht.ModeAutoServer
	if cfg.ClientMode {
		mode = dht.ModeClient
	}
	return dht.New(h,
		dht.Mode(mode),
		dht.ProtocolPrefix(dhtPrefix),
		dht.DisableValues(),
		dht.RoutingTableRefreshPeriod(10*time.Minute),
		dht.ProviderDatastore(newProviderStore()),
		dht.ProviderManagerOpts(
			records.ProvideValidity(provideLife),
			records.CleanupInterval(5*time.Minute),
			records.ProviderAddrTTL(provideLife),
			records.Cache(noCache{}),
		))
}

// modelCID is the DHT key of a model: its digest is a SHA-256 already.
func modelCID(d inference.Digest) (cid.Cid, error) {
	h, err := mh.Encode(d[:], mh.SHA2_256)
	if err != nil {
		return cid.Undef, fmt.Errorf("dht key: %w", err)
	}
	return cid.NewCidV1(cid.Raw, h), nil
}

// provide puts this node into the DHT as one of the model's.
func (n *Node) provide(ctx context.Context, d inference.Digest) error {
	key, err := modelCID(d)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return n.dht.Provide(ctx, key, true)
}

// findNodes asks the DHT for nodes of a model; it takes at most 5 s.
func (n *Node) findNodes(ctx context.Context, d inference.Digest) []peer.AddrInfo {
	key, err := modelCID(d)
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var out []peer.AddrInfo
	for info := range n.dht.FindProvidersAsync(ctx, key, findProviders) {
		if info.ID != n.self && len(out) < findProviders {
			out = append(out, info)
		}
	}
	return out
}

// providerStore keeps provider records in memory, at most maxProvidersPerKey
// of one key and maxProviders in all: the DHT itself bounds neither. What is
// over the limit is dropped silently, as the sender gets no answer anyway.
type providerStore struct {
	ds.Batching // a map; the embedded methods run under mu
	mu          sync.Mutex
	perKey      map[string]int
	total       int
}

func newProviderStore() *providerStore {
	return &providerStore{Batching: ds.NewMapDatastore(), perKey: map[string]int{}}
}

// group is the part of a key that names the model: /providers/<cid>/<peer>.
func group(k ds.Key) string {
	s := k.String()
	return s[:strings.LastIndexByte(s, '/')+1]
}

func (p *providerStore) Put(ctx context.Context, k ds.Key, v []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	has, err := p.Batching.Has(ctx, k)
	if err != nil {
		return err
	}
	if !has {
		if p.total >= maxProviders || p.perKey[group(k)] >= maxProvidersPerKey {
			return nil
		}
		p.total++
		p.perKey[group(k)]++
	}
	return p.Batching.Put(ctx, k, v)
}

func (p *providerStore) Delete(ctx context.Context, k ds.Key) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	has, err := p.Batching.Has(ctx, k)
	if err != nil || !has {
		return err
	}
	p.total--
	if p.perKey[group(k)]--; p.perKey[group(k)] == 0 {
		delete(p.perKey, group(k))
	}
	return p.Batching.Delete(ctx, k)
}

func (p *providerStore) Get(ctx context.Context, k ds.Key) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.Batching.Get(ctx, k)
}

func (p *providerStore) Has(ctx context.Context, k ds.Key) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.Batching.Has(ctx, k)
}

func (p *providerStore) GetSize(ctx context.Context, k ds.Key) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.Batching.GetSize(ctx, k)
}

// Query returns a copy of what matches, so that it may be read while others write.
func (p *providerStore) Query(ctx context.Context, q query.Query) (query.Results, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	res, err := p.Batching.Query(ctx, q)
	if err != nil {
		return nil, err
	}
	entries, err := res.Rest()
	if err != nil {
		return nil, err
	}
	return query.ResultsWithEntries(q, entries), nil
}

func (p *providerStore) Batch(context.Context) (ds.Batch, error) { return ds.NewBasicBatch(p), nil }

// noCache stands in for the DHT's cache of provider sets, which would grow
// without a bound per key; the store is in memory anyway.
type noCache struct{}

var _ simplelru.LRUCache = noCache{}

func (noCache) Add(_, _ any) bool                { return false }
func (noCache) Get(any) (any, bool)              { return nil, false }
func (noCache) Contains(any) bool                { return false }
func (noCache) Peek(any) (any, bool)             { return nil, false }
func (noCache) Remove(any) bool                  { return false }
func (noCache) RemoveOldest() (_, _ any, _ bool) { return nil, nil, false }
func (noCache) GetOldest() (_, _ any, _ bool)    { return nil, nil, false }
func (noCache) Keys() []any                      { return nil }
func (noCache) Len() int                         { return 0 }
func (noCache) Purge()                           {}
func (noCache) Resize(int) int                   { return 0 }
