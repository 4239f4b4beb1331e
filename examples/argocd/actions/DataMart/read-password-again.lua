-- The Secret is read again at once, and its password taken as the new one.
obj.spec.database.password.revision = (obj.spec.database.password.revision or 0) + 1
return obj
