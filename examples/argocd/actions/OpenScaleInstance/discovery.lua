-- What may be done to an OpenScaleInstance now.
local suspended = obj.spec.suspend == true
return {
  ["suspend"] = { disabled = suspended },
  ["resume"] = { disabled = not suspended },
  ["new-data-key"] = { disabled = suspended or obj.metadata.deletionTimestamp ~= nil },
}
