-- The operator goes on where it was.
obj.spec.suspend = false
return obj
