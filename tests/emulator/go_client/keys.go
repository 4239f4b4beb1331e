package main

import (
	"context"
	"encoding/base64"
	"time"

	kp "github.com/IBM/keyprotect-go-client"
)

var (
	ctx      = context.Background()
	material = base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))
	dek      = []byte(base64.StdEncoding.EncodeToString([]byte("a data encryption key of 32 bytes")))
)

// kind is what the creation of a key is judged by.
func kind(key *kp.Key, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return map[string]any{"extractable": key.Extractable, "imported": key.Imported, "aliases": len(key.Aliases)}, nil
}

func creating(r *run, c *kp.Client) {
	ahead := time.Now().Add(24 * time.Hour)
	policy := kp.Policy{Rotation: &kp.Rotation{Interval: 3}, DualAuth: &kp.DualAuth{Enabled: pointer(true)}}
	dual := kp.Policy{DualAuth: &kp.DualAuth{Enabled: pointer(true)}}
	steps := map[string]func() (*kp.Key, error){
		"CreateKey":         func() (*kp.Key, error) { return c.CreateKey(ctx, "key", &ahead, false) },
		"CreateRootKey":     func() (*kp.Key, error) { return c.CreateRootKey(ctx, "root", nil) },
		"CreateStandardKey": func() (*kp.Key, error) { return c.CreateStandardKey(ctx, "standard", nil) },
		"CreateKeyWithAliases": func() (*kp.Key, error) {
			return c.CreateKeyWithAliases(ctx, "aliased", nil, false, []string{"one", "two"})
		},
		"CreateImportedKey": func() (*kp.Key, error) {
			return c.CreateImportedKey(ctx, "imported", nil, material, "", "", false)
		},
		"CreateImportedRootKey": func() (*kp.Key, error) {
			return c.CreateImportedRootKey(ctx, "imported-root", nil, material, "", "")
		},
		"CreateImportedStandardKey": func() (*kp.Key, error) {
			return c.CreateImportedStandardKey(ctx, "imported-standard", nil, material)
		},
		"CreateImportedKeyWithAliases": func() (*kp.Key, error) {
			return c.CreateImportedKeyWithAliases(ctx, "imported-aliased", nil, material, "", "", false, []string{"three"})
		},
		"CreateImportedKeyWithSHA1": func() (*kp.Key, error) {
			return c.CreateImportedKeyWithSHA1(ctx, "sha1", nil, material, material, material, false, nil)
		},
		"CreateImportedKeyWithPolicyOverridesWithSHA1": func() (*kp.Key, error) {
			return c.CreateImportedKeyWithPolicyOverridesWithSHA1(ctx, "sha1", nil, material, material, material, false, nil, dual)
		},
		"CreateKeyWithPolicyOverrides": func() (*kp.Key, error) {
			return c.CreateKeyWithPolicyOverrides(ctx, "with-policies", nil, false, nil, policy)
		},
		"CreateRootKeyWithPolicyOverrides": func() (*kp.Key, error) {
			return c.CreateRootKeyWithPolicyOverrides(ctx, "root-with-policies", nil, nil, policy)
		},
		"CreateStandardKeyWithPolicyOverrides": func() (*kp.Key, error) {
			return c.CreateStandardKeyWithPolicyOverrides(ctx, "standard-with-policies", nil, nil, dual)
		},
		"CreateImportedKeyWithPolicyOverrides": func() (*kp.Key, error) {
			return c.CreateImportedKeyWithPolicyOverrides(ctx, "imported-with-policies", nil, material, "", "", false, nil, dual)
		},
		"CreateImportedRootKeyWithPolicyOverrides": func() (*kp.Key, error) {
			return c.CreateImportedRootKeyWithPolicyOverrides(ctx, "imported-with-policies", nil, material, "", "", nil, dual)
		},
		"CreateImportedStandardKeyWithPolicyOverrides": func() (*kp.Key, error) {
			return c.CreateImportedStandardKeyWithPolicyOverrides(ctx, "imported-with-policies", nil, material, nil, dual)
		},
		"CreateKeyWithPolicyOverridesWithOptions months of 0": func() (*kp.Key, error) {
			none := kp.Policy{Rotation: &kp.Rotation{Interval: 0}}
			return c.CreateKeyWithPolicyOverridesWithOptions(ctx, "no-months", false, none)
		},
	}
	for name, create := range steps {
		r.step(name, func() (any, error) { return kind(create()) })
	}
	r.step("CreateKeyWithOptions", func() (any, error) {
		made, err := c.CreateKeyWithOptions(ctx, "optional", false, kp.WithTags([]string{"a", "b"}),
			kp.WithDescription("described"), kp.WithExpiration(&ahead))
		if err != nil {
			return nil, err
		}
		read := must(c.GetKey(ctx, made.ID))
		return []any{read.Tags, read.Description, read.Expiration.Equal(ahead.Truncate(time.Second)), made.LastUpdateDate == nil}, nil
	})
	r.step("GetKeyMetadata of a key that does not exist", func() (any, error) { return c.GetKeyMetadata(ctx, "nobody") })
}

func wrapping(r *run, c *kp.Client) {
	key := must(c.CreateRootKey(ctx, "wrapping", nil)).ID
	aad := &[]string{"first", "second"}
	var wrapped, again []byte
	r.step("Wrap", func() (any, error) {
		var err error
		wrapped, err = c.Wrap(ctx, key, dek, aad)
		return len(wrapped) > 0, err
	})
	r.step("Unwrap", func() (any, error) {
		plain, err := c.Unwrap(ctx, key, wrapped, aad)
		return string(plain) == string(dek), err
	})
	r.step("Unwrap with the AAD in another order", func() (any, error) {
		return c.Unwrap(ctx, key, wrapped, &[]string{"second", "first"})
	})
	r.step("WrapCreateDEK", func() (any, error) {
		plain, sealed, err := c.WrapCreateDEK(ctx, key, nil)
		return []any{len(must(base64.StdEncoding.DecodeString(string(plain)))), len(sealed) > 0}, err
	})
	version := func(made *kp.KeyActionResponse, err error) (any, error) {
		if err != nil {
			return nil, err
		}
		return made.KeyVersion.ID == must(c.ListKeyVersions(ctx, key, nil)).KeyVersion[0].ID, nil
	}
	r.step("WrapV2", func() (any, error) { return version(c.WrapV2(ctx, key, dek, nil)) })
	r.step("WrapCreateDEKV2", func() (any, error) { return version(c.WrapCreateDEKV2(ctx, key, nil)) })
	r.do("Rotate", func() error { return c.Rotate(ctx, key, "") })
	r.step("UnwrapV2 after a rotation", func() (any, error) {
		plain, rewrapped, err := c.UnwrapV2(ctx, key, wrapped, aad)
		again = rewrapped
		return string(plain) == string(dek) && len(rewrapped) > 0, err
	})
	r.step("UnwrapV2 of what was rewrapped", func() (any, error) {
		plain, rewrapped, err := c.UnwrapV2(ctx, key, again, aad)
		return string(plain) == string(dek) && len(rewrapped) == 0, err
	})
	r.step("ListKeyVersions", func() (any, error) {
		options := &kp.ListKeyVersionsOptions{Limit: pointer(uint32(1)), Offset: pointer(uint32(0)),
			TotalCount: pointer(true), AllKeyStates: pointer(true)}
		versions, err := c.ListKeyVersions(ctx, key, options)
		return []any{len(versions.KeyVersion), *versions.Metadata.TotalCount}, err
	})
	fresh := must(c.CreateRootKey(ctx, "rotated", nil)).ID
	r.do("RotateV2 with null for a body", func() error { return c.RotateV2(ctx, fresh, nil) })
	r.do("RotateV2 with a payload for a generated key", func() error {
		payload := kp.NewKeyPayload(material, "", "")
		return c.RotateV2(ctx, fresh, &payload)
	})
}
