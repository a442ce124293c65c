package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strconv"

	"example.com/cloud-dragon/dragon"
)

// changes follows a key from a version on, and ends with the first error.
func (a *account) changes(ctx context.Context, key string, version int64) iter.Seq2[dragon.ValueState, error] {
	return func(yield func(dragon.ValueState, error) bool) {
		for {
			state, err := a.watch(ctx, key, version, 60)
			if err != nil {
				yield(dragon.ValueState{}, err)
				return
			}
			if state == nil {
				continue // Nothing has changed yet.
			}
			version = state.Version
			if !yield(*state, nil) {
				return
			}
		}
	}
}

func (s *scenario) watchLoop(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		if err := s.writeNumbers(ctx, 50); err != nil {
			cancel(err)
		}
	}()
	var version int64
	for state, err := range s.second.changes(ctx, "number", 0) {
		if err != nil {
			return errors.Join(err, context.Cause(ctx))
		}
		if state.Version <= version {
			return fmt.Errorf("version %d does not follow %d", state.Version, version)
		}
		version = state.Version
		if string(state.Value) == "50" {
			break
		}
	}
	last, err := s.first.read(ctx, "number")
	if err != nil {
		return err
	}
	return errors.Join(want("value", "50", string(last.Value)), want("version", last.Version, version))
}

// writeNumbers writes a value again and again: 1, 2, and so on.
func (s *scenario) writeNumbers(ctx context.Context, last int) error {
	for number := 1; number <= last; number++ {
		if _, err := s.first.write(ctx, "number", json.RawMessage(strconv.Itoa(number))); err != nil {
			return err
		}
	}
	return nil
}

func (s *scenario) watchWithoutChange(ctx context.Context) error {
	written, err := s.first.write(ctx, "quiet", json.RawMessage(`true`))
	if err != nil {
		return err
	}
	state, err := s.second.watch(ctx, "quiet", written.Version, 1)
	if err != nil {
		return err
	}
	return want("change", nil, state)
}

func (s *scenario) watchDeletion(ctx context.Context) error {
	written, err := s.first.write(ctx, "maintenance", json.RawMessage(`true`))
	if err != nil {
		return err
	}
	_, err = s.first.transact(ctx, dragon.TransactRequest{
		KVSet: []dragon.SetOperation{{Key: "maintenance", Delete: true}},
	})
	if err != nil {
		return err
	}
	state, err := s.second.watch(ctx, "maintenance", written.Version, 30)
	if err != nil {
		return err
	}
	if state == nil {
		return errors.New("the deletion was not seen")
	}
	return errors.Join(want("version", 0, state.Version), want("no value", true, state.Value == nil))
}
