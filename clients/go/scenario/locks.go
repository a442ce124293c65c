package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"example.com/cloud-dragon/dragon"
)

func (s *scenario) lockWithWait(ctx context.Context) error {
	held, err := s.first.transact(ctx, dragon.TransactRequest{
		LockID: "nightly", LockDur: new(int32(30)), LockOwner: "first",
	})
	if err != nil {
		return err
	}
	if err := s.lockIsHeld(ctx); err != nil {
		return err
	}

	granted := make(chan error, 1)
	go func() {
		granted <- s.waitForLock(ctx)
	}()
	if err := s.untilOneWaits(ctx); err != nil {
		return err
	}
	if err := s.first.unlock(ctx, "nightly", held.Lock); err != nil {
		return err
	}
	if err := <-granted; err != nil {
		return err
	}
	if s.handle <= held.Lock {
		return fmt.Errorf("the handle %d is not above %d, the one before", s.handle, held.Lock)
	}
	return nil
}

// lockIsHeld checks that the second client is told who holds the lock.
func (s *scenario) lockIsHeld(ctx context.Context) error {
	_, err := s.second.transact(ctx, dragon.TransactRequest{LockID: "nightly", LockDur: new(int32(30))})
	refused, err := wantRefusal(err, http.StatusConflict, dragon.ErrorCodeLockTimeout)
	if err != nil {
		return err
	}
	return errors.Join(
		want("owner", "first", refused.Owner),
		want("Till is in the future", true, refused.Till > time.Now().Unix()),
	)
}

// waitForLock takes the lock for the second client as soon as it is given back.
func (s *scenario) waitForLock(ctx context.Context) error {
	answer, err := s.second.transact(ctx, dragon.TransactRequest{
		LockID: "nightly", LockDur: new(int32(30)), LockWait: 30, LockOwner: "second",
	})
	if err != nil {
		return err
	}
	s.handle = answer.Lock
	return nil
}

// untilOneWaits returns when the server shows that a client waits for the lock.
func (s *scenario) untilOneWaits(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		answer, err := s.first.list(ctx, dragon.ListRequest{Kind: dragon.ListRequestKindLocks, Prefix: "nightly"})
		if err != nil {
			return err
		}
		if len(answer.Locks) == 1 && answer.Locks[0].Waiting == 1 {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// unlock gives a lock back.
func (a *account) unlock(ctx context.Context, id string, handle int64) error {
	_, err := a.transact(ctx, dragon.TransactRequest{UnlockID: id, Unlock: &handle})
	return err
}

// writeGuarded writes a value only while the lock is still held by this handle.
func (a *account) writeGuarded(ctx context.Context, lock string, handle int64, key string, value json.RawMessage) error {
	_, err := a.transact(ctx, dragon.TransactRequest{
		LockID: lock, UnlockID: lock, Unlock: &handle, LockDur: new(int32(0)),
		KVSet: []dragon.SetOperation{{Key: key, Value: value}},
	})
	return err
}

func (s *scenario) guardedWrite(ctx context.Context) error {
	if err := s.second.writeGuarded(ctx, "nightly", s.handle, "report", json.RawMessage(`1`)); err != nil {
		return err
	}
	if err := s.second.unlock(ctx, "nightly", s.handle); err != nil {
		return err
	}
	err := s.second.writeGuarded(ctx, "nightly", s.handle, "report", json.RawMessage(`2`))
	if _, err := wantRefusal(err, http.StatusConflict, dragon.ErrorCodeNotLocked); err != nil {
		return err
	}
	report, err := s.second.read(ctx, "report")
	if err != nil {
		return err
	}
	return want("value", "1", string(report.Value))
}
