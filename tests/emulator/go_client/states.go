package main

import (
	"log"

	kp "github.com/IBM/keyprotect-go-client"
)

func states(r *run, c, other *kp.Client) {
	key := must(c.CreateRootKey(ctx, "states", nil)).ID
	r.do("DisableKey", func() error { return c.DisableKey(ctx, key) })
	r.do("DisableKey twice", func() error { return c.DisableKey(ctx, key) })
	r.step("Wrap with a disabled key", func() (any, error) { return c.Wrap(ctx, key, dek, nil) })
	r.do("EnableKey too early", func() error { return c.EnableKey(ctx, key) })
	r.wait(31)
	r.do("EnableKey", func() error { return c.EnableKey(ctx, key) })
	r.do("SyncAssociatedResources too early", func() error { return c.SyncAssociatedResources(ctx, key) })
	must(c.SetDualAuthDeletePolicy(ctx, key, true))
	r.step("DeleteKey with one authorization", func() (any, error) { return c.DeleteKey(ctx, key, kp.ReturnMinimal) })
	r.do("InitiateDualAuthDelete", func() error { return other.InitiateDualAuthDelete(ctx, key) })
	r.do("CancelDualAuthDelete", func() error { return other.CancelDualAuthDelete(ctx, key) })
	if err := other.InitiateDualAuthDelete(ctx, key); err != nil {
		log.Fatal(err)
	}
	r.step("DeleteKey", func() (any, error) {
		gone, err := c.DeleteKey(ctx, key, kp.ReturnRepresentation, kp.ForceOpt{Force: false})
		return []any{gone.State, *gone.Deleted, *gone.PurgeAllowed}, err
	})
	r.step("DeleteKey twice", func() (any, error) { return c.DeleteKey(ctx, key, kp.ReturnMinimal) })
	r.step("RestoreKey too early", func() (any, error) { return c.RestoreKey(ctx, key) })
	r.wait(31)
	r.step("RestoreKey", func() (any, error) {
		back, err := c.RestoreKey(ctx, key)
		return back.State, err
	})
	plain := must(c.CreateRootKey(ctx, "purged", nil)).ID
	must(c.DeleteKey(ctx, plain, kp.ReturnMinimal))
	r.step("PurgeKey too early", func() (any, error) { return c.PurgeKey(ctx, plain, kp.ReturnMinimal) })
	// The client keeps its token for an hour of its own time; four hours of the emulator's are too many for that.
	r.wait(4 * 3600)
	fresh := must(kp.New(c.Config, nil))
	r.do("SyncAssociatedResources", func() error { return fresh.SyncAssociatedResources(ctx, key) })
	r.step("PurgeKey", func() (any, error) {
		gone, err := fresh.PurgeKey(ctx, plain, kp.ReturnRepresentation)
		return gone.ID == plain, err
	})
}
