package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"example.com/cloud-dragon/dragon"
)

func (s *scenario) tokens(ctx context.Context) error {
	anonymous, err := open(s.server, s.name)
	if err != nil {
		return err
	}
	reader, err := open(s.server, s.name, withToken(s.readToken))
	if err != nil {
		return err
	}
	value := json.RawMessage(`"written"`)
	_, err = anonymous.write(ctx, "tokens", value)
	_, unauthorized := wantRefusal(err, http.StatusUnauthorized, dragon.ErrorCodeUnauthorized)
	_, err = reader.write(ctx, "tokens", value)
	_, forbidden := wantRefusal(err, http.StatusForbidden, dragon.ErrorCodeForbidden)
	if err := errors.Join(unauthorized, forbidden); err != nil {
		return err
	}

	if _, err := s.first.write(ctx, "tokens", value); err != nil {
		return err
	}
	read, err := reader.read(ctx, "tokens")
	if err != nil {
		return err
	}
	listed, err := reader.list(ctx, dragon.ListRequest{Prefix: "tokens"})
	if err != nil {
		return err
	}
	return errors.Join(
		want("value", string(value), string(read.Value)),
		want("listed values", 1, len(listed.KV)),
	)
}
