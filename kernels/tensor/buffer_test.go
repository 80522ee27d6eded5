package tensor

import (
	"sync"
	"testing"
	"unsafe"
)

func TestBuffersOfAPoolDoNotAlias(t *testing.T) {
	p := NewPool(1 << 20)
	var live []Buffer
	for i := range 20 {
		b := p.Get(F32, 3, 50+i)
		if uintptr(unsafe.Pointer(unsafe.SliceData(b.Data)))%align != 0 {
			t.Fatal("not aligned")
		}
		for e := range b.F32() {
			b.F32()[e] = float32(i)
		}
		live = append(live, b)
		if i%3 == 2 {
			live[i-1].Release()
			live[i-1] = p.Get(F32, 3, 50+i-1)
			for e := range live[i-1].F32() {
				live[i-1].F32()[e] = float32(i - 1)
			}
		}
	}
	for i, b := range live {
		for _, v := range b.F32() {
			if v != float32(i) {
				t.Fatalf("buffer %d holds %v", i, v)
			}
		}
	}
}

func TestABufferEndsWhereItsShapeDoes(t *testing.T) {
	b := NewPool(0).Get(F32, 2, 3)
	if len(b.Data) != 24 || cap(b.Data) != 24 {
		t.Errorf("length %d, capacity %d", len(b.Data), cap(b.Data))
	}
}

func TestRowsAndSlicesShareMemory(t *testing.T) {
	b := Of([]float32{1, 2, 3, 4, 5, 6}, 3, 2)
	s := b.Slice(1, 3)
	s.Row(1)[0] = 50
	if b.F32()[4] != 50 || s.Rows != 2 || len(s.F32()) != 4 || b.Row(1)[1] != 4 {
		t.Errorf("%v, %v", b.F32(), s.F32())
	}
	s.Release() // has no pool: nothing happens
	if e := b.Slice(3, 3); e.Rows != 0 || e.F32() != nil {
		t.Error("an empty slice has elements")
	}
}

func TestReleasingTwicePanics(t *testing.T) {
	for _, reused := range []bool{false, true} {
		p := NewPool(1 << 20)
		b := p.Get(BF16, 4, 4)
		b.Release()
		if reused {
			p.Get(BF16, 4, 4)
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("reused %v: no panic", reused)
				}
			}()
			b.Release()
		}()
	}
}

func TestAPoolKeepsNoMoreThanItsLimit(t *testing.T) {
	p := NewPool(1024)
	a, b, c := p.Get(F32, 1, 100), p.Get(F32, 1, 100), p.Get(F32, 1, 128) // 512 bytes each
	if p.Live() != 3*512 {
		t.Errorf("live: %d", p.Live())
	}
	a.Release()
	b.Release()
	c.Release()
	if p.Live() != 0 || p.kept.Load() != 1024 || len(p.free[512]) != 2 {
		t.Errorf("live %d, kept %d, %d blocks", p.Live(), p.kept.Load(), len(p.free[512]))
	}
	d := p.Get(F32, 1, 65)
	if p.kept.Load() != 512 {
		t.Errorf("kept %d after reuse", p.kept.Load())
	}
	d.Release()
	huge := p.Get(F32, 1, 1000)
	huge.Release()
	if p.kept.Load() > 1024 {
		t.Errorf("kept %d", p.kept.Load())
	}
}

func TestReuseAllocatesNothing(t *testing.T) {
	p := NewPool(1 << 20)
	p.Get(F32, 8, 8).Release()
	if n := testing.AllocsPerRun(100, func() { p.Get(F32, 8, 8).Release() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestAPoolServesManyGoroutines(t *testing.T) {
	p := NewPool(4096)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for range 200 {
				b := p.Get(F32, 1+g, 16)
				for i := range b.F32() {
					b.F32()[i] = float32(g)
				}
				for _, v := range b.F32() {
					if v != float32(g) {
						t.Error("shared while in use")
						return
					}
				}
				b.Release()
			}
		})
	}
	wg.Wait()
	if p.Live() != 0 || p.kept.Load() > 4096 {
		t.Errorf("live %d, kept %d", p.Live(), p.kept.Load())
	}
}

func TestF32RefusesOtherTypes(t *testing.T) {
	for _, f := range []func(){
		func() { Buffer{DType: BF16}.F32() },
		func() { Of(make([]float32, 5), 2, 3) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			f()
		}()
	}
}

func TestDTypesHaveNamesAndSizes(t *testing.T) {
	for d := F32; d < numDTypes; d++ {
		if got, err := ParseDType(d.String()); err != nil || got != d {
			t.Errorf("%s: parsed as %v, %v", d, got, err)
		}
		if n := d.BlockElems(); n == 0 || d.RowBytes(3*n) != 3*d.BlockBytes() {
			t.Errorf("%s: %d bytes of 3 blocks", d, d.RowBytes(3*n))
		}
	}
	for _, d := range []DType{Invalid, numDTypes, 255} {
		if d.BlockElems() != 0 || d.BlockBytes() != 0 || d.RowBytes(32) != 0 {
			t.Errorf("%s has a size", d)
		}
	}
	for _, s := range []string{"", "F33", "f32", "dtype 0"} {
		if _, err := ParseDType(s); err == nil {
			t.Errorf("%q accepted", s)
		}
	}
}
