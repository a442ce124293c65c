package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"example.com/cloud-dragon/dragon"
)

// errLease says that a lock is not safely held any more, since its lease could not be extended.
var errLease = errors.New("the lease could not be extended in time")

// lock is a lock that was taken.
type lock struct {
	account *account
	id      string
	handle  int64
	lease   time.Duration
	// sent is a moment before the last successful request was sent: the lease ends that much later, or after that.
	sent time.Time
}

// take takes a lock for so long, and waits so long for it; both are whole seconds.
func (a *account) take(ctx context.Context, id, owner string, lease, wait time.Duration) (*lock, error) {
	taken := &lock{account: a, id: id, lease: lease, sent: time.Now()}
	answer, err := a.transactOnce(ctx, dragon.TransactRequest{
		IdempotencyIDs: []string{rand.Text()},
		LockID:         id,
		LockDur:        new(int32(lease / time.Second)),
		LockWait:       int32(wait / time.Second),
		LockOwner:      owner,
	})
	if err != nil {
		return nil, err
	}
	taken.handle = answer.Lock
	if time.Since(taken.sent) < lease/3 {
		return taken, nil
	}
	// It took a while until the handle was known, and how much of the lease is left is not.
	if err := taken.extend(ctx); err != nil {
		return nil, err
	}
	return taken, nil
}

// whileHeld does the work, whose context ends when the lock is lost, and gives the lock back.
func (l *lock) whileHeld(ctx context.Context, work func(context.Context) error) (err error) {
	held, lose := context.WithCancelCause(ctx)
	var keeping sync.WaitGroup
	keeping.Go(func() { lose(l.keep(held)) })
	defer func() {
		err = errors.Join(err, context.Cause(held))
		lose(nil)
		keeping.Wait()
		err = errors.Join(err, l.giveBack(context.WithoutCancel(ctx)))
	}()
	return work(held)
}

// keep extends the lease at each third of it until ctx ends. An error says that the lock is lost, or may be soon.
func (l *lock) keep(ctx context.Context) error {
	next := l.sent.Add(l.lease / 3)
	var failure error
	for {
		end := l.sent.Add(l.lease - l.lease/20)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(min(time.Until(next), time.Until(end))):
		}
		if time.Until(end) <= 0 {
			return errors.Join(errLease, failure)
		}
		trying, cancel := context.WithTimeout(ctx, min(l.lease/3, time.Until(end)))
		failure = l.extend(trying)
		cancel()
		switch {
		case failure == nil:
			next = l.sent.Add(l.lease / 3)
		case refusedWith(failure, dragon.ErrorCodeNotLocked):
			return failure
		default:
			next = time.Now().Add(l.lease / 30)
		}
	}
}

// extend lets the lease begin anew.
func (l *lock) extend(ctx context.Context) error {
	sent := time.Now()
	_, err := l.account.transact(ctx, dragon.TransactRequest{
		LockID: l.id, UnlockID: l.id, Unlock: &l.handle, LockDur: new(int32(l.lease / time.Second)),
	})
	if err == nil {
		l.sent = sent
	}
	return err
}

// giveBack gives the lock back.
func (l *lock) giveBack(ctx context.Context) error {
	return l.account.unlock(ctx, l.id, l.handle)
}

// heldLonger works for longer than the lease.
func (s *scenario) heldLonger(ctx context.Context) error {
	taken, err := s.first.take(ctx, "held", "first", time.Second, 0)
	if err != nil {
		return err
	}
	err = taken.whileHeld(ctx, func(ctx context.Context) error {
		select {
		case <-time.After(1300 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
		return s.first.writeGuarded(ctx, "held", taken.handle, "report", json.RawMessage(`3`))
	})
	if err != nil {
		return err
	}
	// It was given back.
	next, err := s.second.take(ctx, "held", "second", 30*time.Second, 0)
	if err != nil {
		return err
	}
	return next.giveBack(ctx)
}

// heldNoMore works until someone else has given the lock back.
func (s *scenario) heldNoMore(ctx context.Context) error {
	taken, err := s.first.take(ctx, "held", "first", time.Second, 0)
	if err != nil {
		return err
	}
	err = taken.whileHeld(ctx, func(ctx context.Context) error {
		if err := s.second.unlock(ctx, "held", taken.handle); err != nil {
			return err
		}
		<-ctx.Done()
		return nil
	})
	_, err = wantRefusal(err, http.StatusConflict, dragon.ErrorCodeNotLocked)
	return err
}

// switchable is a connection that can be cut.
type switchable struct {
	http.Client
	cut atomic.Bool
}

func (w *switchable) Do(request *http.Request) (*http.Response, error) {
	if w.cut.Load() {
		return nil, errors.New("cut")
	}
	return w.Client.Do(request)
}

// heldOutOfReach works until the lease can't be extended any more, which has to be told before it is over.
func (s *scenario) heldOutOfReach(ctx context.Context) error {
	connection := &switchable{}
	client, err := open(s.server, s.name, withToken(s.token), dragon.WithHTTPClient(connection))
	if err != nil {
		return err
	}
	taken, err := client.take(ctx, "held", "first", time.Second, 0)
	if err != nil {
		return err
	}
	var took time.Duration
	err = taken.whileHeld(ctx, func(ctx context.Context) error {
		connection.cut.Store(true)
		<-ctx.Done()
		took = time.Since(taken.sent)
		return nil
	})
	if !errors.Is(err, errLease) || took >= taken.lease {
		return fmt.Errorf("the loss was not told in time, but after %v: %w", took, err)
	}
	return s.first.unlockOrExpired(ctx, "held", taken.handle)
}

// unlockOrExpired gives a lock back whose lease may have ended.
func (a *account) unlockOrExpired(ctx context.Context, id string, handle int64) error {
	if err := a.unlock(ctx, id, handle); !refusedWith(err, dragon.ErrorCodeNotLocked) {
		return err
	}
	return nil
}

// takenTwice loses the answer that grants a lock, and learns the handle by the same request.
func (s *scenario) takenTwice(ctx context.Context) error {
	client, err := open(s.server, s.name, withToken(s.token), dragon.WithHTTPClient(&loser{}))
	if err != nil {
		return err
	}
	taken, err := client.take(ctx, "held", "first", 30*time.Second, 0)
	if err != nil {
		return err
	}
	return taken.giveBack(ctx)
}

// loser loses the first answer.
type loser struct {
	http.Client
	sent int
}

func (l *loser) Do(request *http.Request) (*http.Response, error) {
	response, err := l.Client.Do(request)
	if l.sent++; l.sent > 1 || err != nil {
		return response, err
	}
	return nil, errors.Join(errors.New("the answer was lost"), response.Body.Close())
}
