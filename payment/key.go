package payment

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
	"github.com/farlabs/inference"
	"golang.org/x/crypto/sha3"
)

// Key signs for one account.
type Key struct {
	secret  *secp256k1.PrivateKey
	address inference.Address
}

// NewKey makes a key from the system's random numbers.
func NewKey() (*Key, error) {
	secret, err := secp256k1.GeneratePrivateKey()
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	return newKey(secret), nil
}

// KeyFromBytes reads a secret of 32 bytes, big-endian, 1 … group order − 1.
func KeyFromBytes(b []byte) (*Key, error) {
	var s secp256k1.ModNScalar
	if len(b) != 32 {
		return nil, fmt.Errorf("key of %d bytes, want 32", len(b))
	}
	if overflow := s.SetByteSlice(b); overflow || s.IsZero() {
		return nil, errors.New("key outside 1 … group order − 1")
	}
	return newKey(secp256k1.NewPrivateKey(&s)), nil
}

func newKey(secret *secp256k1.PrivateKey) *Key {
	return &Key{secret, addressOf(secret.PubKey())}
}

// Address returns the account of the key.
func (k *Key) Address() inference.Address { return k.address }

// LoadOrCreateKey reads the key at path, or makes one there when the file is
// missing: 64 hexadecimal digits and a newline, mode 0600, whole or not at all.
// Of several processes that start at once, one makes the file and all read it.
// A file that others than its owner may read is refused.
func LoadOrCreateKey(path string) (*Key, error) {
	k, err := LoadKey(path)
	if !errors.Is(err, os.ErrNotExist) {
		return k, err
	}
	if k, err = NewKey(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	if err := k.create(path); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("make key: %w", err)
	}
	return LoadKey(path)
}

// create writes the key beside path and links it there, which fails when path
// exists; file systems without links get an exclusive create.
func (k *Key) create(path string) error {
	text := []byte(hex.EncodeToString(k.secret.Serialize()) + "\n")
	tmp, err := os.CreateTemp(filepath.Dir(path), ".key-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(text)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err = os.Link(tmp.Name(), path); err == nil || errors.Is(err, os.ErrExist) {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		os.Remove(path)
	}
	return err
}

// LoadKey reads the key that LoadOrCreateKey made at path.
func LoadKey(path string) (*Key, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("key %s: mode %#o lets others read it: chmod 600 %s", path, info.Mode().Perm(), path)
	}
	if info.Size() > 128 {
		return nil, fmt.Errorf("key %s: %d bytes, want 64 hexadecimal digits", path, info.Size())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	b, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		// err would quote a digit of the secret.
		return nil, fmt.Errorf("key %s: want 64 hexadecimal digits", path)
	}
	k, err := KeyFromBytes(b)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", path, err)
	}
	return k, nil
}

// sign signs a digest: deterministic (RFC 6979), s in the lower half.
func (k *Key) sign(digest [32]byte) inference.Signature {
	c := ecdsa.SignCompact(k.secret, digest[:], false) // v ‖ r ‖ s
	var sig inference.Signature
	copy(sig[:64], c[1:])
	sig[64] = c[0]
	return sig
}

// ErrSignature is wrapped when a signature is not one that its account made.
var ErrSignature = errors.New("wrong signature")

// recoverAddress returns the account that signed digest. It takes one form of
// each signature: s in the lower half (EIP-2), v 27 or 28.
func recoverAddress(digest [32]byte, sig inference.Signature) (inference.Address, error) {
	if sig[64] != 27 && sig[64] != 28 {
		return inference.Address{}, fmt.Errorf("%w: v %d", ErrSignature, sig[64])
	}
	var s secp256k1.ModNScalar
	if over := s.SetByteSlice(sig[32:64]); over || s.IsZero() || s.IsOverHalfOrder() {
		return inference.Address{}, fmt.Errorf("%w: s is not in the lower half", ErrSignature)
	}
	var c [65]byte
	c[0] = sig[64]
	copy(c[1:], sig[:64])
	pub, _, err := ecdsa.RecoverCompact(c[:], digest[:])
	if err != nil {
		return inference.Address{}, fmt.Errorf("%w: %v", ErrSignature, err)
	}
	return addressOf(pub), nil
}

// addressOf is the last 20 bytes of the Keccak-256 of x ‖ y.
func addressOf(pub *secp256k1.PublicKey) (a inference.Address) {
	h := keccak(pub.SerializeUncompressed()[1:])
	copy(a[:], h[12:])
	return a
}

// keccak is Keccak-256 with the original padding, as Ethereum uses it.
func keccak(parts ...[]byte) (sum [32]byte) {
	h := sha3.NewLegacyKeccak256()
	for _, p := range parts {
		h.Write(p)
	}
	h.Sum(sum[:0])
	return sum
}
