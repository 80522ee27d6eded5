//go:build !unix

package weights

import (
	"errors"
	"os"
)

// canMap is false where files are not mapped: tensors are read into memory.
const canMap = false

func mapRange(*os.File, int64, int64) (region, error) { return region{}, errors.ErrUnsupported }

func mapMemory(int64) (region, error) { return region{}, errors.ErrUnsupported }
