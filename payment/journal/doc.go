// Package journal keeps small records in one append-only file: what was
// appended before a crash is there after it.
//
// In go records, byte strings of 1 to [MaxRecord] bytes, and out they come in
// the same order when the file is opened again. [Journal.Append] hands a record
// to the operating system, which survives the death of the process;
// [Journal.Sync] waits until everything appended is on the disk, one fsync for
// all who wait; [Journal.Rewrite] replaces the file by a shorter one that says
// the same. A [Lock] keeps a second process out.
//
// The file is a line of 16 bytes that names its kind, then per record
//
//	uint32  length, little-endian
//	uint32  CRC-32C of the record
//	bytes   record
//
// An unfinished record at the end is what a crash leaves: it is cut off. Bytes
// that are no record but more than a crash explains are moved to a file beside
// the journal, never dropped. The package knows nothing of what records mean.
package journal
