package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"

	"example.com/cloud-dragon/dragon"
)

func (s *scenario) exactValues(ctx context.Context) error {
	value := `{"b":1,"a":9007199254740993,"big":123456789012345678901234567890,"d":1.10,"e":"\u00e9"}`
	if _, err := s.first.write(ctx, "exact", json.RawMessage(value)); err != nil {
		return err
	}
	read, err := s.second.read(ctx, "exact")
	if err != nil {
		return err
	}
	return want("value", value, string(read.Value))
}

// writeExactly writes a value byte for byte. It is put into the body as it is, since encoding/json would write <, > and
// & in it as \u003c, \u003e and \u0026, and leave its white space out.
func (a *account) writeExactly(ctx context.Context, key string, value json.RawMessage) (*dragon.TransactAnswer, error) {
	if !json.Valid(value) {
		return nil, errors.New("the value is not JSON")
	}
	name, err := json.Marshal(key)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	body := fmt.Sprintf(`{"KVSet":[{"Key":%s,"Value":%s}]}`, name, value)
	response, err := a.client.TransactWithBodyWithResponse(ctx, a.name, "application/json", strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	if response.JSON200 == nil {
		return nil, failure(response.HTTPResponse, response.JSONDefault)
	}
	return response.JSON200, nil
}

func (s *scenario) exactWriting(ctx context.Context) error {
	value := "{ \"a\" : \"<b>&\u2028\\u00e9\\u003c\",\n \"c\":[1 , 2] }"
	if _, err := s.first.write(ctx, "escapes", json.RawMessage(value)); err != nil {
		return err
	}
	typed, err := s.second.read(ctx, "escapes")
	if err != nil {
		return err
	}
	if _, err := s.first.writeExactly(ctx, "escapes", json.RawMessage(value)); err != nil {
		return err
	}
	exact, err := s.second.read(ctx, "escapes")
	if err != nil {
		return err
	}
	return errors.Join(
		want("typed", `{"a":"\u003cb\u003e\u0026\u2028\u00e9\u003c","c":[1,2]}`, string(typed.Value)),
		want("exact", value, string(exact.Value)),
	)
}

func (s *scenario) nullAndAbsent(ctx context.Context) error {
	if _, err := s.first.write(ctx, "null", json.RawMessage(`null`)); err != nil {
		return err
	}
	null, err := s.second.read(ctx, "null")
	if err != nil {
		return err
	}
	absent, err := s.second.read(ctx, "absent")
	if err != nil {
		return err
	}
	return errors.Join(
		want("null", "null", string(null.Value)),
		want("null has a version", true, null.Version > 0),
		want("absent has no value", true, absent.Value == nil),
		want("version of the absent", 0, absent.Version),
	)
}

func (s *scenario) integersInValues(ctx context.Context) error {
	type limits struct {
		Users, Lowest, Highest int64
	}
	written := limits{Users: 9007199254740993, Lowest: math.MinInt64, Highest: math.MaxInt64}
	value, err := json.Marshal(written)
	if err != nil {
		return err
	}
	if _, err := s.first.write(ctx, "limits", value); err != nil {
		return err
	}
	state, err := s.second.read(ctx, "limits")
	if err != nil {
		return err
	}
	var read limits
	if err := json.Unmarshal(state.Value, &read); err != nil {
		return err
	}
	return want("limits", written, read)
}
