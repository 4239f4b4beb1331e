-- What may be done to a DataMart now. A password that was given through the gateway has no Secret to read again.
local database = obj.spec.database or {}
local password = database.password or {}
return {
  ["read-password-again"] = { disabled = password.secretRef == nil or obj.metadata.deletionTimestamp ~= nil },
  ["protect"] = { disabled = obj.spec.deletionProtection == true },
}
