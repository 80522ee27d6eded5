package payment

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"testing"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/farlabs/inference"
)

type vector struct {
	Kind, Chain, Contract, Secret, Signer string
	Message                               map[string]string
	Separator, Digest, Signature          string
}

func vectors(t *testing.T) []vector {
	t.Helper()
	b, err := os.ReadFile("testdata/eip712.json")
	if err != nil {
		t.Fatal(err)
	}
	var f struct{ Cases []vector }
	if err := json.Unmarshal(b, &f); err != nil {
		t.Fatal(err)
	}
	if len(f.Cases) < 12 {
		t.Fatalf("%d cases", len(f.Cases))
	}
	return f.Cases
}

func (v vector) domain(t *testing.T) Domain {
	return Domain{v.uint(t, v.Chain), v.address(t, v.Contract)}
}

func (v vector) uint(t *testing.T, s string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (v vector) address(t *testing.T, s string) inference.Address {
	t.Helper()
	a, err := inference.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (v vector) wei(t *testing.T, s string) (w inference.Wei) {
	t.Helper()
	if err := w.UnmarshalText([]byte(s)); err != nil {
		t.Fatal(err)
	}
	return w
}

func (v vector) bytes(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (v vector) voucher(t *testing.T) *inference.Voucher {
	m := v.Message
	out := &inference.Voucher{
		Payer: v.address(t, m["payer"]), Node: v.address(t, m["node"]),
		Series: v.uint(t, m["series"]), Cumulative: v.wei(t, m["cumulative"]),
	}
	copy(out.Signature[:], v.bytes(t, v.Signature))
	return out
}

func (v vector) receipt(t *testing.T) *inference.Receipt {
	m := v.Message
	n := func(name string) uint64 { return v.uint(t, m[name]) }
	r := &inference.Receipt{
		Payer: v.address(t, m["payer"]), Node: v.address(t, m["node"]), Series: n("series"),
		Epoch: inference.Epoch(n("epoch")), Class: inference.NumericsClass(m["numericsClass"]),
		Blocks: inference.BlockRange{Start: int(n("firstBlock")), End: int(n("endBlock"))},
		Units:  inference.Units{n("prefill"), n("decode"), n("draft"), n("cached"), n("recovery")},
		Amount: v.wei(t, m["amount"]), Cumulative: v.wei(t, m["cumulative"]), Outcome: inference.Outcome(n("outcome")),
	}
	copy(r.Session[:], v.bytes(t, m["session"]))
	copy(r.Digest[:], v.bytes(t, m["digest"]))
	copy(r.Signature[:], v.bytes(t, v.Signature))
	return r
}

func TestDigestsAndSignaturesEqualAnIndependentImplementation(t *testing.T) {
	for i, v := range vectors(t) {
		d := v.domain(t)
		key, err := KeyFromBytes(v.bytes(t, v.Secret))
		if err != nil {
			t.Fatal(err)
		}
		if key.Address().String() != v.Signer {
			t.Errorf("case %d: account %s, want %s", i, key.Address(), v.Signer)
		}
		if s := d.Separator(); hex.EncodeToString(s[:]) != v.Separator {
			t.Errorf("case %d: separator %x, want %s", i, s, v.Separator)
		}
		var digest [32]byte
		var signature inference.Signature
		if v.Kind == "Voucher" {
			voucher := v.voucher(t)
			if err := d.VerifyVoucher(voucher); err != nil {
				t.Errorf("case %d: %v", i, err)
			}
			digest = d.VoucherDigest(voucher)
			d.SignVoucher(key, voucher)
			signature = voucher.Signature
		} else {
			r := v.receipt(t)
			if err := d.VerifyReceipt(r, key.Address()); err != nil {
				t.Errorf("case %d: %v", i, err)
			}
			digest = d.ReceiptDigest(r)
			d.SignReceipt(key, r)
			signature = r.Signature
		}
		if hex.EncodeToString(digest[:]) != v.Digest {
			t.Errorf("case %d: digest %x, want %s", i, digest, v.Digest)
		}
		if hex.EncodeToString(signature[:]) != v.Signature {
			t.Errorf("case %d: signature %x, want %s", i, signature, v.Signature)
		}
	}
}

func testKey(t testing.TB, n byte) *Key {
	t.Helper()
	k, err := KeyFromBytes(append(make([]byte, 31), n))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestVoucherIsBoundToEveryFieldAndDomain(t *testing.T) {
	key := testKey(t, 7)
	v := inference.Voucher{Node: testKey(t, 8).Address(), Series: 9, Cumulative: inference.WeiOf(10)}
	DevelopmentDomain.SignVoucher(key, &v)
	if err := DevelopmentDomain.VerifyVoucher(&v); err != nil {
		t.Fatal(err)
	}
	changes := map[string]func(*inference.Voucher, *Domain){
		"payer":      func(v *inference.Voucher, _ *Domain) { v.Payer[3] ^= 1 },
		"zero payer": func(v *inference.Voucher, _ *Domain) { v.Payer = inference.Address{} },
		"node":       func(v *inference.Voucher, _ *Domain) { v.Node[0] ^= 1 },
		"series":     func(v *inference.Voucher, _ *Domain) { v.Series++ },
		"amount":     func(v *inference.Voucher, _ *Domain) { v.Cumulative.Hi++ },
		"chain":      func(_ *inference.Voucher, d *Domain) { d.ChainID = 56 },
		"contract":   func(_ *inference.Voucher, d *Domain) { d.Contract[19] ^= 1 },
		"r":          func(v *inference.Voucher, _ *Domain) { v.Signature[0] ^= 1 },
		"s":          func(v *inference.Voucher, _ *Domain) { v.Signature[40] ^= 1 },
		"v":          func(v *inference.Voucher, _ *Domain) { v.Signature[64] ^= 27 ^ 28 },
		"v 0":        func(v *inference.Voucher, _ *Domain) { v.Signature[64] -= 27 },
		"v 31":       func(v *inference.Voucher, _ *Domain) { v.Signature[64] += 4 },
		"empty":      func(v *inference.Voucher, _ *Domain) { v.Signature = inference.Signature{} },
		"high s": func(v *inference.Voucher, _ *Domain) {
			var s secp256k1.ModNScalar
			s.SetByteSlice(v.Signature[32:64])
			s.Negate().PutBytesUnchecked(v.Signature[32:64])
			v.Signature[64] ^= 27 ^ 28
		},
	}
	for name, change := range changes {
		bad, d := v, DevelopmentDomain
		change(&bad, &d)
		if err := d.VerifyVoucher(&bad); !errors.Is(err, ErrSignature) {
			t.Errorf("%s changed: %v", name, err)
		}
	}
}

func TestReceiptIsBoundToEveryField(t *testing.T) {
	key := testKey(t, 7)
	r := inference.Receipt{Blocks: inference.BlockRange{Start: 1, End: 2}, Class: "cpu-f32-v0"}
	DevelopmentDomain.SignReceipt(key, &r)
	changes := []func(*inference.Receipt){
		func(r *inference.Receipt) { r.Payer[0]++ }, func(r *inference.Receipt) { r.Node[0]++ },
		func(r *inference.Receipt) { r.Series++ }, func(r *inference.Receipt) { r.Session[15]++ },
		func(r *inference.Receipt) { r.Epoch++ }, func(r *inference.Receipt) { r.Digest[31]++ },
		func(r *inference.Receipt) { r.Blocks.Start-- }, func(r *inference.Receipt) { r.Blocks.End++ },
		func(r *inference.Receipt) { r.Class += "x" }, func(r *inference.Receipt) { r.Amount.Lo++ },
		func(r *inference.Receipt) { r.Cumulative.Hi++ }, func(r *inference.Receipt) { r.Outcome++ },
		func(r *inference.Receipt) { r.Units[0]++ }, func(r *inference.Receipt) { r.Units[1]++ },
		func(r *inference.Receipt) { r.Units[2]++ }, func(r *inference.Receipt) { r.Units[3]++ },
		func(r *inference.Receipt) { r.Units[4]++ },
	}
	for i, change := range changes {
		bad := r
		change(&bad)
		if err := DevelopmentDomain.VerifyReceipt(&bad, key.Address()); !errors.Is(err, ErrSignature) {
			t.Errorf("change %d: %v", i, err)
		}
	}
	if err := DevelopmentDomain.VerifyReceipt(&r, testKey(t, 8).Address()); !errors.Is(err, ErrSignature) {
		t.Errorf("foreign signer: %v", err)
	}
	// Only 16 bits of a block are signed; what does not fit is refused first.
	r.Blocks = inference.BlockRange{Start: 1 + 1<<16, End: 2 + 1<<16}
	if err := DevelopmentDomain.VerifyReceipt(&r, key.Address()); err == nil {
		t.Error("blocks beyond 16 bits verified")
	}
}

func TestKeyFileIsMadeOnceAndForItsOwnerAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "wallet.key")
	var wg sync.WaitGroup
	accounts := make([]inference.Address, 8)
	for i := range accounts {
		wg.Go(func() {
			k, err := LoadOrCreateKey(path)
			if err != nil {
				t.Error(err)
				return
			}
			accounts[i] = k.Address()
		})
	}
	wg.Wait()
	for _, a := range accounts {
		if a != accounts[0] || a.IsZero() {
			t.Fatalf("accounts %s and %s", a, accounts[0])
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".key-*")); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadOrCreateKey(path); runtime.GOOS != "windows" && err == nil {
		t.Error("a key that others can read was taken")
	}
}

func TestDamagedKeyFileIsNeverReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "wallet.key")
	order := "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"
	for _, text := range []string{"", "zz", "00", order, "0000000000000000000000000000000000000000000000000000000000000000", order + order + order} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadOrCreateKey(path); err == nil {
			t.Errorf("%q was taken", text)
		}
		if b, _ := os.ReadFile(path); string(b) != text {
			t.Errorf("%q became %q", text, b)
		}
	}
}
