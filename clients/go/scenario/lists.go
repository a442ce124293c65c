package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"

	"example.com/cloud-dragon/dragon"
)

// pages reads the values whose keys begin with a prefix, page by page, and ends with the first error.
func (a *account) pages(ctx context.Context, prefix string, limit int32) iter.Seq2[[]dragon.ValueState, error] {
	return func(yield func([]dragon.ValueState, error) bool) {
		request := dragon.ListRequest{Prefix: prefix, Limit: &limit}
		for {
			page, err := a.list(ctx, request)
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(page.KV, nil) || !page.More {
				return
			}
			request.After = page.KV[len(page.KV)-1].Key
		}
	}
}

func (s *scenario) pagesOfList(ctx context.Context) error {
	var written []string
	var sets []dragon.SetOperation
	for number := range 25 {
		key := fmt.Sprintf("page/%02d", number)
		written = append(written, key)
		sets = append(sets, dragon.SetOperation{Key: key, Value: []byte(`true`)})
	}
	if _, err := s.first.transact(ctx, dragon.TransactRequest{KVSet: sets}); err != nil {
		return err
	}

	var sizes []int
	var keys []string
	for page, err := range s.second.pages(ctx, "page/", 10) {
		if err != nil {
			return err
		}
		sizes = append(sizes, len(page))
		for _, state := range page {
			keys = append(keys, state.Key)
		}
	}
	return errors.Join(
		want("sizes", "[10 10 5]", fmt.Sprint(sizes)),
		want("keys", fmt.Sprint(written), fmt.Sprint(keys)),
	)
}

func (s *scenario) limitOfNothing(ctx context.Context) error {
	_, err := s.second.list(ctx, dragon.ListRequest{Limit: new(int32(0))})
	_, err = wantRefusal(err, http.StatusBadRequest, dragon.ErrorCodeInvalidRequest)
	return err
}

func (s *scenario) otherLists(ctx context.Context) error {
	made, err := s.first.transact(ctx, dragon.TransactRequest{
		LockID: "listed/lock", LockDur: new(int32(30)), LockOwner: "first",
		Atomic: []dragon.AtomicOperation{{Key: "listed/counter", Set: new(int64(7))}},
	})
	if err != nil {
		return err
	}
	counters, err := s.second.list(ctx, dragon.ListRequest{Kind: dragon.ListRequestKindCounters, Prefix: "listed/"})
	if err != nil {
		return err
	}
	locks, err := s.second.list(ctx, dragon.ListRequest{Kind: dragon.ListRequestKindLocks, Prefix: "listed/"})
	if err != nil {
		return err
	}
	if len(counters.Counters) != 1 || len(locks.Locks) != 1 {
		return fmt.Errorf("wanted one counter and one lock, got %+v and %+v", counters, locks)
	}
	counter, lock := counters.Counters[0], locks.Locks[0]
	return errors.Join(
		want("counter", dragon.CounterState{Key: "listed/counter", Value: 7}, counter),
		want("lock", "listed/lock", lock.ID),
		want("handle", made.Lock, lock.Lock),
		want("owner", "first", lock.Owner),
		s.first.unlock(ctx, lock.ID, lock.Lock),
	)
}
