package farnet

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/libp2p/go-libp2p/core/crypto"
)

// maxIdentityBytes bounds the identity file, which has about 120.
const maxIdentityBytes = 16 << 10

// identity is the key of a node and, when it came from a file, the lock that
// keeps other processes from using it too.
type identity struct {
	key  ed25519.PrivateKey
	lock *fileLock // nil: the key came from no file
}

// openIdentity takes the key from c, its file, or chance. The lock is held
// until close.
func openIdentity(c *Config) (*identity, error) {
	if c.Key != nil {
		return &identity{key: c.Key}, nil
	}
	if c.IdentityPath == "" {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return &identity{key: key}, err
	}
	if err := os.MkdirAll(filepath.Dir(c.IdentityPath), 0o700); err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	// The lock has a file of its own, because the identity is replaced by
	// renaming and a lock would stay with the old file.
	lock, holder, err := lockFile(c.IdentityPath + ".lock")
	if err != nil {
		if errors.Is(err, errLocked) {
			if holder != "" {
				holder = " (pid " + holder + ")"
			}
			return nil, fmt.Errorf("%w: another process%s runs with %s; stop it, or give this one a different identity file",
				ErrIdentityInUse, holder, c.IdentityPath)
		}
		return nil, fmt.Errorf("identity: lock: %w", err)
	}
	key, err := readIdentity(c.IdentityPath)
	if errors.Is(err, fs.ErrNotExist) {
		key, err = makeIdentity(c.IdentityPath)
	}
	if err != nil {
		lock.release()
		return nil, fmt.Errorf("identity: %w", err)
	}
	if st, err := os.Stat(c.IdentityPath); err == nil && runtime.GOOS != "windows" && st.Mode().Perm()&0o077 != 0 && c.Log != nil {
		c.Log.Warn("identity file is readable by others; chmod 600 it", "path", c.IdentityPath)
	}
	return &identity{key: key, lock: lock}, nil
}

// libp2p returns the key in the form that the host takes.
func (i *identity) libp2p() (crypto.PrivKey, error) {
	return crypto.UnmarshalEd25519PrivateKey(i.key)
}

func (i *identity) close() {
	if i.lock != nil {
		i.lock.release()
	}
}

// readIdentity reads a PKCS #8 private key in PEM, as `openssl genpkey
// -algorithm ed25519` writes it.
func readIdentity(path string) (ed25519.PrivateKey, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxIdentityBytes))
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, fmt.Errorf("%s: holds no PEM private key; move it away to have a new identity made", path)
	}
	k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	key, ok := k.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s: holds a %T, want an Ed25519 key", path, k)
	}
	return key, nil
}

func makeIdentity(path string) (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, writeFileAtomic(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// writeFileAtomic replaces path by a file of mode 0600 that holds b; after a
// crash either the old content or the new is there, never a part.
func writeFileAtomic(path string, b []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if _, err = f.Write(b); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
