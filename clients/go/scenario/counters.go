package main

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"

	"example.com/cloud-dragon/dragon"
)

func (s *scenario) counter(ctx context.Context) error {
	clients := []*account{s.first, s.second}
	values := make([]int64, 10)
	errs := make([]error, len(values))
	var adding sync.WaitGroup
	for i := range values {
		adding.Go(func() {
			one := dragon.AtomicOperation{Key: "order_id", Add: new(int64(1))}
			values[i], errs[i] = clients[i%len(clients)].count(ctx, one)
		})
	}
	adding.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	slices.Sort(values)
	for i, value := range values {
		if err := want("value", int64(i+1), value); err != nil {
			return err
		}
	}

	// Reserves the hundred numbers that end at the answer: 11 to 110.
	last, err := s.first.count(ctx, dragon.AtomicOperation{Key: "order_id", Add: new(int64(100))})
	if err != nil {
		return err
	}
	return want("last reserved number", 110, last)
}

func (s *scenario) exactCounters(ctx context.Context) error {
	for _, value := range []int64{9007199254740993, math.MaxInt64, math.MinInt64} {
		set, err := s.first.count(ctx, dragon.AtomicOperation{Key: "exact", Set: &value})
		if err != nil {
			return err
		}
		read, err := s.second.count(ctx, dragon.AtomicOperation{Key: "exact"})
		if err != nil {
			return err
		}
		if err := errors.Join(want("set", value, set), want("read", value, read)); err != nil {
			return err
		}
	}
	return nil
}
