-- A new data key, and everything re-encrypted under it. The revision is never lowered.
obj.spec.dataKeyRevision = (obj.spec.dataKeyRevision or 0) + 1
return obj
